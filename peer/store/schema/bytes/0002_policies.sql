-- What this site keeps, where somebody said so. Losing it, the site keeps what its configuration says.

-- `rules` is a JSON list of the texts that people wrote.
CREATE TABLE policies (
    group_id BLOB NOT NULL PRIMARY KEY,
    rules TEXT NOT NULL
) STRICT, WITHOUT ROWID;
