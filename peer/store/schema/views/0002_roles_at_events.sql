-- Everything anew: roles are judged at events, and much more changes than finalizes and tags.

DROP TABLE progress;
DROP TABLE groups;
DROP TABLE authors;
DROP TABLE digests;
DROP TABLE recordings;
DROP TABLE chunks;
DROP TABLE chunk_topics;
DROP TABLE attachments;
DROP TABLE registers;
DROP TABLE manifests;
DROP TABLE poison;

-- What events mean. All of it can be deleted: it is computed again from log.db. The numbers of rows are this peer's own and never leave it.
--
-- A row stands for one event. `role` (of a register: `rank`) is that of the author at the event, none if the event was cut, sealed or voided. `counts`
-- is 1 if the event counts: its author might write it, and its recording is there and counts. Only rows that count are projected, which is to say
-- shown, exported and covered by the digests.

-- One row: how far this database has come, by which rules.
CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB NOT NULL
);

-- `judgement` is the digest of that by which all roles of the group were set; empty while only some were set anew.
CREATE TABLE groups (
    group_no INTEGER PRIMARY KEY,
    group_id BLOB NOT NULL UNIQUE,
    events INTEGER NOT NULL,
    judgement BLOB NOT NULL
);

CREATE TABLE digests (
    group_no INTEGER NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (group_no, name)
) WITHOUT ROWID;

-- Without `site` it is a shadow: something that names a recording has arrived before the recording.
CREATE TABLE recordings (
    recording_no INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL,
    id BLOB NOT NULL,
    site BLOB,
    name TEXT,
    folded TEXT,
    machine TEXT,
    created_ns INTEGER,
    profile TEXT,
    hlc BLOB,
    role INTEGER,
    counts INTEGER NOT NULL
);

-- Ids are random: a quarter of the bytes is a quarter of the pages that a change dirties. Whoever looks here compares the whole id, too.
CREATE INDEX recordings_by_id ON recordings (substr(id, 1, 8), group_no);

CREATE INDEX recordings_by_name ON recordings (folded, group_no, hlc) WHERE counts;

CREATE INDEX recordings_by_time ON recordings (group_no, hlc) WHERE counts;

CREATE INDEX shadows ON recordings (recording_no) WHERE site IS NULL;

CREATE TABLE chunks (
    chunk_no INTEGER PRIMARY KEY,
    recording_no INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    hlc BLOB NOT NULL,
    number INTEGER NOT NULL,
    source_name TEXT NOT NULL,
    blob BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    piece_size INTEGER NOT NULL,
    pieces BLOB NOT NULL,
    message_count INTEGER NOT NULL,
    start_ns INTEGER,
    end_ns INTEGER,
    library TEXT NOT NULL,
    profile TEXT NOT NULL,
    topics BLOB NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX chunks_by_recording ON chunks (recording_no);

CREATE INDEX chunks_by_blob ON chunks (substr(blob, 1, 8));

CREATE INDEX chunks_by_pieces ON chunks (substr(pieces, 1, 8));

CREATE TABLE chunk_topics (
    topics_no INTEGER PRIMARY KEY,
    recording_no INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    hlc BLOB NOT NULL,
    chunk BLOB NOT NULL,
    topics BLOB NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX chunk_topics_by_recording ON chunk_topics (recording_no);

CREATE TABLE attachments (
    attachment_no INTEGER PRIMARY KEY,
    recording_no INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    hlc BLOB NOT NULL,
    source_name TEXT NOT NULL,
    blob BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    piece_size INTEGER NOT NULL,
    pieces BLOB NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX attachments_by_recording ON attachments (recording_no);

CREATE INDEX attachments_by_blob ON attachments (substr(blob, 1, 8));

CREATE INDEX attachments_by_pieces ON attachments (substr(pieces, 1, 8));

CREATE TABLE annotations (
    annotation_no INTEGER PRIMARY KEY,
    recording_no INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    hlc BLOB NOT NULL,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    start_ns INTEGER,
    end_ns INTEGER,
    reply_to BLOB,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX annotations_by_recording ON annotations (recording_no, id);

-- Writes of registers. Those that count and were not replaced are `live`; one of them `wins`. `holder` is the number of the recording whose register it
-- is; of a register of the group itself it is the number of the group, below zero.
CREATE TABLE registers (
    write_no INTEGER PRIMARY KEY,
    holder INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    register TEXT NOT NULL,
    preference INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    hlc BLOB NOT NULL,
    value BLOB NOT NULL,
    refs BLOB NOT NULL,
    counts INTEGER NOT NULL,
    live INTEGER NOT NULL,
    wins INTEGER NOT NULL
);

CREATE INDEX registers_by_holder ON registers (holder, register);

-- What the winning finalize of a recording is worth.
CREATE TABLE manifests (
    recording_no INTEGER PRIMARY KEY,
    finalize BLOB NOT NULL,
    manifest_id BLOB NOT NULL,
    state TEXT NOT NULL
);

-- Events whose bodies do not fit the schema of their type.
CREATE TABLE poison (
    poison_no INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL,
    id BLOB NOT NULL,
    author BLOB NOT NULL,
    type TEXT NOT NULL,
    reason TEXT NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX poison_by_group ON poison (group_no);
