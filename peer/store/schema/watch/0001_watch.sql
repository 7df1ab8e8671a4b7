-- Which folders are watched, and what became of the files in them. Losing it loses no recording: what events tell of is recognised by its bytes.

-- The numbers count files that are remembered no more.
CREATE TABLE folders (
    folder TEXT NOT NULL PRIMARY KEY,
    group_id BLOB NOT NULL,
    tags TEXT NOT NULL,
    machine TEXT NOT NULL,
    added INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each file that was looked into. `outcome` is `adding` from before the events are written until it is known that they are.
CREATE TABLE files (
    folder TEXT NOT NULL REFERENCES folders ON DELETE CASCADE,
    path TEXT NOT NULL,
    identity TEXT NOT NULL,
    blob BLOB NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (folder, path)
) STRICT, WITHOUT ROWID;

-- One row for each recording that was begun for a file or sub-folder. Its name is this site's own, so it tells after a crash whether it was written.
CREATE TABLE items (
    folder TEXT NOT NULL REFERENCES folders ON DELETE CASCADE,
    item TEXT NOT NULL,
    name TEXT NOT NULL,
    recording BLOB,
    is_closed INTEGER NOT NULL,
    PRIMARY KEY (folder, item)
) STRICT, WITHOUT ROWID;
