-- Sessions whose end is told from outside, before or after a scan sees them.

-- When it ended, as a webhook told, until what was read of it was judged. One that no scan has seen has no observations.
ALTER TABLE sessions ADD COLUMN told_at INTEGER;

-- A scan walks those that it has seen; of the others it reads those alone of which something else is to be said by now: they may
-- stay for ever.
DROP INDEX sessions_unsettled;
CREATE INDEX sessions_unsettled ON sessions (source, session_id)
    WHERE state IN ('open', 'reopened') AND observation_count > 0;
CREATE INDEX sessions_untraced ON sessions (source, waiting_reason, open_since)
    WHERE state IN ('open', 'reopened') AND observation_count = 0;

-- What was told: the same request again is no second end.
CREATE TABLE session_ends (
    source      TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    delivery    TEXT NOT NULL,   -- SHA-256 of what was signed
    shape       TEXT NOT NULL,   -- generic, vapi, retell, twilio
    ended_at    INTEGER,            -- as the sender has it, where that can be
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
