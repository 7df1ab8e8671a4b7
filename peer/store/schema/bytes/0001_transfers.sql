-- What people told this site about its transfers. Losing it loses wishes, and no bytes.

-- Recordings whose bytes somebody asked for, until all of them are here.
CREATE TABLE asked (
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    PRIMARY KEY (group_id, recording)
) STRICT, WITHOUT ROWID;

-- Blobs that are not fetched: paused or cancelled by a person, or given up. `code` and `text` say what went wrong last.
CREATE TABLE held (
    blob BLOB NOT NULL PRIMARY KEY,
    group_id BLOB NOT NULL,
    recording BLOB NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `paused` says that nothing is fetched at all, `limit` how fast bytes may travel, `limit:<peer id>` to and from one peer.
CREATE TABLE transfer_settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
