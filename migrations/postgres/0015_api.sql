-- Who may use the HTTP API. A token's secret is nowhere: only its hash.
CREATE TABLE api_tokens (
    id           text PRIMARY KEY,   -- public: it stands in the token, in lists and in the audit log
    name         text NOT NULL,      -- the actor in the audit log
    scope        text NOT NULL CHECK (scope IN ('read', 'operate')),
    secret_hash  text NOT NULL,      -- argon2id, as a PHC string
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    expires_at   timestamptz,        -- null: never
    last_used_at timestamptz,        -- to the minute
    revoked_at   timestamptz
);
-- An actor in the audit log is one token.
CREATE UNIQUE INDEX api_tokens_name ON api_tokens (name) WHERE revoked_at IS NULL;

-- Writes with an Idempotency-Key: what was asked, and the first answer. Without an answer it is under way.
CREATE TABLE api_idempotency (
    token_id    text NOT NULL,
    key         text NOT NULL,
    fingerprint text NOT NULL,       -- SHA-256 of method, path, query and body
    attempt     uuid NOT NULL,       -- the request that does it: the fence
    claimed_at  timestamptz NOT NULL,
    status      bigint,
    answer      text,
    PRIMARY KEY (token_id, key)
);
CREATE INDEX api_idempotency_claimed ON api_idempotency (claimed_at);
