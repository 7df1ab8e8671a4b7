-- Annotations say who wrote them, and sites say which bytes they hold. All rows are computed anew: the projections are of another version.

UPDATE progress SET version = 0;

DROP TABLE annotations;

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
    site TEXT NOT NULL,
    person TEXT NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX annotations_by_recording ON annotations (recording_no, id);

-- What sites say of the bytes that they hold. `release` is 1 where one takes back what it said in the events that `refs` name.
CREATE TABLE receipts (
    receipt_no INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL,
    author BLOB NOT NULL,
    id BLOB NOT NULL,
    hlc BLOB NOT NULL,
    release INTEGER NOT NULL,
    refs BLOB NOT NULL,
    blobs BLOB NOT NULL,
    role INTEGER NOT NULL,
    counts INTEGER NOT NULL
);

CREATE INDEX receipts_by_group ON receipts (group_no);

-- Where a blob is named in them, whether or not they count.
CREATE TABLE receipt_blobs (
    blob BLOB NOT NULL,
    receipt_no INTEGER NOT NULL,
    PRIMARY KEY (blob, receipt_no)
) WITHOUT ROWID;
