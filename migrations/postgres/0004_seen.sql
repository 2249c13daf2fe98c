-- What scans have seen of sessions, from sources that show a window at a time: no scan has to see a whole session at once.

-- One row per trace. Its session may be learnt later than the trace itself.
CREATE TABLE seen_traces (
    source           text NOT NULL,
    trace_id         text NOT NULL,
    session_id       text,                         -- null: none of its observations names one
    grouped          boolean NOT NULL DEFAULT false, -- true: the session id is ours, since the application set none
    user_hash        text NOT NULL DEFAULT '',     -- of the caller as the application names them; empty: anonymous
    environment      text,
    started_at       timestamptz NOT NULL,
    last_activity_at timestamptz NOT NULL,
    PRIMARY KEY (source, trace_id)
);
CREATE INDEX seen_traces_session ON seen_traces (source, session_id) WHERE session_id IS NOT NULL;
-- Traces that no session is known of, and the groups that ours made of such.
CREATE INDEX seen_traces_loose ON seen_traces (source, user_hash, started_at) WHERE session_id IS NULL;
CREATE INDEX seen_traces_grouped ON seen_traces (source, user_hash, started_at) WHERE grouped;
CREATE INDEX seen_traces_age ON seen_traces (last_activity_at);

CREATE TABLE seen_observations (
    source           text NOT NULL,
    trace_id         text NOT NULL,
    observation_id   text NOT NULL,
    mark             text NOT NULL,                -- differs whenever the source changed it
    started_at       timestamptz NOT NULL,
    last_activity_at timestamptz NOT NULL,
    ends_session     boolean NOT NULL,             -- true: it is the configured end signal
    PRIMARY KEY (source, trace_id, observation_id)
);
CREATE INDEX seen_observations_age ON seen_observations (last_activity_at);
