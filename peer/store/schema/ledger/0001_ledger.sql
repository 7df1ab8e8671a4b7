-- How the files of blobs were when their bytes were verified last. Not the truth about anything: what is not in it is hashed once more.
CREATE TABLE blobs (
    blob        BLOB PRIMARY KEY CHECK (length(blob) = 32),
    inode       INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    changed_ns  INTEGER NOT NULL,
    is_sound    INTEGER NOT NULL CHECK (is_sound IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX damaged_blobs ON blobs (blob) WHERE is_sound = 0;

-- Blobs that were removed on purpose: nobody misses them.
CREATE TABLE removed (
    blob BLOB PRIMARY KEY CHECK (length(blob) = 32)
) STRICT, WITHOUT ROWID;

-- Blobs of which something lies in `blobs/incoming`, until they are whole or given up.
CREATE TABLE begun (
    blob BLOB PRIMARY KEY CHECK (length(blob) = 32)
) STRICT, WITHOUT ROWID;
