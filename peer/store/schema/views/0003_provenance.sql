-- Recordings say who added them where, chunks what was dropped and what is in them beside messages. All rows are computed anew: the projections are of
-- another version.

DROP TABLE recordings;
DROP TABLE chunks;

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
    tool TEXT,
    tool_version TEXT,
    host TEXT,
    source_path TEXT,
    operator TEXT,
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
    dropped INTEGER,
    embedded BLOB NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX chunks_by_recording ON chunks (recording_no);

CREATE INDEX chunks_by_blob ON chunks (substr(blob, 1, 8));

CREATE INDEX chunks_by_pieces ON chunks (substr(pieces, 1, 8));
