-- Sessions whose end is told from outside, before or after a scan sees them.

-- When it ended, as a webhook told, until what was read of it was judged. One that no scan has seen has no observations.
ALTER TABLE sessions ADD COLUMN told_at INTEGER;

-- What was told: the same request again is no second end.
CREATE TABLE session_ends (
    source      TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    delivery    TEXT NOT NULL,   -- SHA-256 of what was signed
    shape       TEXT NOT NULL,   -- generic, vapi, retell, twilio
    ended_at    INTEGER,            -- as the sender has it
    reason      TEXT,            -- as the sender has it
    received_at INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, delivery)
) STRICT;
CREATE INDEX session_ends_received ON session_ends (received_at);

-- Requests to webhooks that only grow in number, for monitoring.
CREATE TABLE webhook_totals (
    source  TEXT NOT NULL,
    shape   TEXT NOT NULL,
    outcome TEXT NOT NULL,
    events  INTEGER NOT NULL,
    PRIMARY KEY (source, shape, outcome)
) STRICT;
