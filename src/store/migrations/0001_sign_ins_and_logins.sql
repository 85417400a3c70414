-- Times are milliseconds since 1970. What is sealed is described in seal.rs.

CREATE TABLE sealed_with (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    checked BLOB NOT NULL -- a known text, sealed: tells the right key
) STRICT;

CREATE TABLE sign_in (
    number        INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again
    id            TEXT NOT NULL UNIQUE,
    account       TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    refresh_token BLOB NOT NULL, -- sealed
    name          TEXT,
    signed_in_by  TEXT NOT NULL,
    signed_in_at  INTEGER NOT NULL,
    exercised     INTEGER NOT NULL,
    ends          INTEGER,
    leased_until  INTEGER,
    holder        TEXT, -- of the lease: a store that some process has open
    CHECK ((leased_until IS NULL) = (holder IS NULL))
) STRICT;

CREATE TABLE account (
    address TEXT PRIMARY KEY NOT NULL COLLATE NOCASE,
    app     TEXT NOT NULL
) STRICT;

CREATE TABLE login (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again
    device        TEXT NOT NULL,
    account       TEXT NOT NULL,
    username      TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    protocols     TEXT NOT NULL, -- "smtp imap"
    networks      TEXT, -- "192.0.2.0/24 2001:db8::/32"; NULL: any that the listener takes
    made          INTEGER NOT NULL,
    ends          INTEGER
) STRICT;

CREATE TABLE login_use (
    account      TEXT NOT NULL,
    username     TEXT NOT NULL,
    login        INTEGER NOT NULL, -- 0: of the configuration file
    used_at      INTEGER NOT NULL,
    from_address TEXT NOT NULL,
    PRIMARY KEY (account, username, login)
) STRICT;
