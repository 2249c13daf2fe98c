-- Who may use the HTTP API. A token's secret is nowhere: only its hash.
CREATE TABLE api_tokens (
    id           TEXT PRIMARY KEY,   -- public: it stands in the token, in lists and in the audit log
    name         TEXT NOT NULL,      -- the actor in the audit log
    scope        TEXT NOT NULL CHECK (scope IN ('read', 'operate')),
    secret_hash  TEXT NOT NULL,      -- argon2id, as a PHC string
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,            -- null: never
    last_used_at INTEGER,            -- to the minute
    revoked_at   INTEGER
) STRICT;
-- An actor in the audit log is one token.
CREATE UNIQUE INDEX api_tokens_name ON api_tokens (name) WHERE revoked_at IS NULL;

-- Writes with an Idempotency-Key: what was asked, and the first answer. Without an answer it is under way.
CREATE TABLE api_idempotency (
    token_id    TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,       -- SHA-256 of method, path, query and body
    attempt     TEXT NOT NULL,       -- the request that does it: the fence
    claimed_at  INTEGER NOT NULL,
    status      INTEGER,
    answer      TEXT,
    PRIMARY KEY (token_id, key)
) STRICT;
CREATE INDEX api_idempotency_claimed ON api_idempotency (claimed_at);
