-- What scans have seen of sessions, from sources that show a window at a time: no scan has to see a whole session at once.

-- One row per trace. Its session may be learnt later than the trace itself.
CREATE TABLE seen_traces (
    source           TEXT NOT NULL,
    trace_id         TEXT NOT NULL,
    session_id       TEXT,                         -- null: none of its observations names one
    grouped          INTEGER NOT NULL DEFAULT 0,   -- 1: the session id is ours, since the application set none
    user_hash        TEXT NOT NULL DEFAULT '',     -- of the caller as the application names them; empty: anonymous
    environment      TEXT,
    started_at       INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL,
    PRIMARY KEY (source, trace_id)
) STRICT;
CREATE INDEX seen_traces_session ON seen_traces (source, session_id) WHERE session_id IS NOT NULL;
-- Traces that no session is known of, and the groups that ours made of such.
CREATE INDEX seen_traces_loose ON seen_traces (source, user_hash, started_at) WHERE session_id IS NULL;
CREATE INDEX seen_traces_grouped ON seen_traces (source, user_hash, started_at) WHERE grouped = 1;
CREATE INDEX seen_traces_age ON seen_traces (last_activity_at);

CREATE TABLE seen_observations (
    source           TEXT NOT NULL,
    trace_id         TEXT NOT NULL,
    observation_id   TEXT NOT NULL,
    mark             TEXT NOT NULL,                -- differs whenever the source changed it
    started_at       INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL,
    ends_session     INTEGER NOT NULL,             -- 1: it is the configured end signal
    PRIMARY KEY (source, trace_id, observation_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_observations_age ON seen_observations (last_activity_at);
