-- Names of groups that a peer is expected to share with us, before any group of that name is here.
CREATE TABLE expected_groups (
    peer_id BLOB NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (peer_id, name)
) WITHOUT ROWID;

-- Peers that knocked and that the operator does not want to be shown again.
CREATE TABLE ignored_peers (
    peer_id BLOB PRIMARY KEY,
    since_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Groups that this site asked to leave; once it has left, they are as good as not here.
CREATE TABLE left_groups (
    group_id BLOB PRIMARY KEY,
    forgotten INTEGER NOT NULL
) WITHOUT ROWID;
