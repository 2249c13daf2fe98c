-- Sessions whose end is told from outside, before or after a scan sees them.

-- When it ended, as a webhook told, until what was read of it was judged. One that no scan has seen has no observations.
ALTER TABLE sessions ADD COLUMN told_at timestamptz;

-- What was told: the same request again is no second end.
CREATE TABLE session_ends (
    source      text NOT NULL,
    session_id  text NOT NULL,
    delivery    text NOT NULL,   -- SHA-256 of what was signed
    shape       text NOT NULL,   -- generic, vapi, retell, twilio
    ended_at    timestamptz,            -- as the sender has it
    reason      text,            -- as the sender has it
    received_at timestamptz NOT NULL,
    PRIMARY KEY (source, session_id, delivery)
);
CREATE INDEX session_ends_received ON session_ends (received_at);

-- Requests to webhooks that only grow in number, for monitoring.
CREATE TABLE webhook_totals (
    source  text NOT NULL,
    shape   text NOT NULL,
    outcome text NOT NULL,
    events  bigint NOT NULL,
    PRIMARY KEY (source, shape, outcome)
);
