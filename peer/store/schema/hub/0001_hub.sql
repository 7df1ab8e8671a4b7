-- What a hub knows: agents, hives, swarms and pre-auth keys, each a row. The hub holds all of them in memory.

CREATE TABLE entries (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
