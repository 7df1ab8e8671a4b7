-- The truth: what this peer holds of the logs of its groups. The numbers of rows are this peer's own and never leave it.

CREATE TABLE groups (
    group_no INTEGER PRIMARY KEY,
    group_id BLOB NOT NULL UNIQUE,
    genesis BLOB NOT NULL
);

CREATE TABLE logs (
    log_no INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL REFERENCES groups (group_no),
    log BLOB NOT NULL,
    certificate BLOB NOT NULL,
    UNIQUE (group_no, log)
);

-- A branch begins after height `fork_height` of its parent, or at 0 without one. Its own events are those above that.
CREATE TABLE branches (
    branch_no INTEGER PRIMARY KEY,
    log_no INTEGER NOT NULL REFERENCES logs (log_no),
    parent_branch INTEGER REFERENCES branches (branch_no),
    fork_height INTEGER NOT NULL
);

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    branch_no INTEGER NOT NULL,
    height INTEGER NOT NULL,
    id BLOB NOT NULL,
    header BLOB NOT NULL,
    body BLOB NOT NULL,
    signature BLOB
);

CREATE UNIQUE INDEX events_by_height ON events (branch_no, height);

-- Ids are random: a third of the bytes is a third of the pages that an append dirties. Whoever looks here compares the whole id, too.
CREATE INDEX events_by_id ON events (substr(id, 1, 8));

-- The logs that this peer writes on, with the fence: what the key's own file was when it was made.
CREATE TABLE open_logs (
    group_no INTEGER NOT NULL REFERENCES groups (group_no),
    kind INTEGER NOT NULL,
    log BLOB NOT NULL,
    inode INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    PRIMARY KEY (group_no, kind)
) WITHOUT ROWID;

-- Addresses that the operator gave, and other peers that are not known from a roster alone.
CREATE TABLE peers (
    peer_id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    endpoints TEXT NOT NULL,
    groups TEXT NOT NULL,
    source TEXT NOT NULL,
    paused INTEGER NOT NULL
) WITHOUT ROWID;

-- Single facts: `incarnation`, `fence` (what the files of this database and of the peer key were).
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
