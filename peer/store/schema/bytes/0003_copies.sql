-- What this site promised and dropped.

-- That its copy of a recording stays until a round of another site has ended.
CREATE TABLE promises (
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    peer BLOB NOT NULL,
    round_id BLOB NOT NULL,
    PRIMARY KEY (group_id, recording, peer)
) WITHOUT ROWID;

-- Copies of which a round of this site has begun: after a crash the log says how far it came.
CREATE TABLE releases (
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    PRIMARY KEY (group_id, recording)
) WITHOUT ROWID;

-- What was dropped and does not come back before somebody asks for it.
CREATE TABLE held_back (
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (group_id, recording)
) WITHOUT ROWID;

-- Who said that it holds a recording, and could not prove it when it was asked last.
CREATE TABLE unproven (
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    peer BLOB NOT NULL,
    code TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (group_id, recording, peer)
) WITHOUT ROWID;
