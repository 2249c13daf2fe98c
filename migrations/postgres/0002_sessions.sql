-- Sessions, what was read of them, and their verdicts. The jobs table can be rebuilt from these tables alone.

-- Where the scan of a source stands.
CREATE TABLE sources (
    name          text PRIMARY KEY,
    kind          text NOT NULL,
    watermark     jsonb,              -- JSON, the source's own
    updated_at    timestamptz NOT NULL
);

-- What each discovery cycle found: kept and shown.
CREATE TABLE discovery_cycles (
    id            uuid PRIMARY KEY,  -- the job's id
    source        text NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    slices        bigint NOT NULL DEFAULT 0,
    seen          bigint NOT NULL DEFAULT 0,   -- sessions with activity
    new           bigint NOT NULL DEFAULT 0,
    settled       bigint NOT NULL DEFAULT 0,
    reopened      bigint NOT NULL DEFAULT 0,
    waiting       bigint NOT NULL DEFAULT 0,
    faults        bigint NOT NULL DEFAULT 0,   -- things that could not be read
    checked       bigint NOT NULL DEFAULT 0,   -- verdicts since the cycle before
    passed        bigint NOT NULL DEFAULT 0,
    failed        bigint NOT NULL DEFAULT 0,
    skipped       bigint NOT NULL DEFAULT 0,
    errors        bigint NOT NULL DEFAULT 0,
    error         text                           -- why it could not finish
);
CREATE INDEX discovery_cycles_source ON discovery_cycles (source, started_at);

-- What a source holds that cannot be read: reported, never silently dropped.
CREATE TABLE source_faults (
    source     text NOT NULL,
    position   text NOT NULL,
    reason     text NOT NULL,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (source, position)
);

CREATE TABLE sessions (
    source            text NOT NULL,
    session_id        text NOT NULL,
    environment       text,
    first_activity_at timestamptz NOT NULL,
    last_activity_at  timestamptz NOT NULL,
    observation_count bigint NOT NULL,
    trace_count       bigint NOT NULL,
    digest            text NOT NULL,      -- of the content as last scanned
    digest_since      timestamptz NOT NULL,   -- since when it is the same
    open_since        timestamptz NOT NULL,   -- since when it waits to settle
    ended             boolean NOT NULL DEFAULT false,   -- an explicit end signal was seen
    incomplete        boolean NOT NULL DEFAULT false,   -- settled by the deadline, not by rest
    state             text NOT NULL CHECK (state IN ('open', 'settled', 'analyzing', 'verifying', 'done', 'reopened')),
    generation        bigint NOT NULL DEFAULT 1,
    analyzed_digest   text,               -- of the content that the current generation judged
    system            text,               -- verifying: the system whose turn it is
    look_round        bigint NOT NULL DEFAULT 0,   -- verifying: looks so far
    waiting_reason    text,               -- why it is not done yet, for people
    waiting_until     timestamptz,
    discovered_at     timestamptz NOT NULL,
    settled_at        timestamptz,
    done_at           timestamptz,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (source, session_id)
);
-- What discovery and reconcile walk, a page at a time, however many sessions are done. A query is served by one of these only
-- when it repeats the condition word by word.
CREATE INDEX sessions_unsettled ON sessions (source, session_id) WHERE state IN ('open', 'reopened');
CREATE INDEX sessions_in_progress ON sessions (source, session_id) WHERE state IN ('settled', 'analyzing', 'verifying');
-- How far the sessions are, without reading them.
CREATE INDEX sessions_states ON sessions (source, state, waiting_until);
-- New activity after the verdict.
CREATE INDEX sessions_changed ON sessions (source, session_id) WHERE state = 'done' AND digest <> analyzed_digest;
CREATE INDEX sessions_recent ON sessions (last_activity_at);

-- The content that a generation was judged by.
CREATE TABLE snapshots (
    source       text NOT NULL,
    session_id   text NOT NULL,
    generation   bigint NOT NULL,
    digest       text NOT NULL,
    observations bigint NOT NULL,
    content      bytea NOT NULL,           -- JSON, deflated
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (source, session_id, generation)
);
CREATE INDEX snapshots_created ON snapshots (created_at);

CREATE TABLE readings (
    source       text NOT NULL,
    session_id   text NOT NULL,
    generation   bigint NOT NULL,
    reader       jsonb NOT NULL,           -- JSON
    reading      jsonb NOT NULL,           -- JSON
    dropped      jsonb NOT NULL DEFAULT '[]',  -- JSON: items that did not hold, and why
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (source, session_id, generation)
);

-- Paid answers by the hash of what was asked: never bought twice.
CREATE TABLE llm_answers (
    input_hash  text PRIMARY KEY,
    model       text NOT NULL,
    answer      bytea NOT NULL,            -- JSON, deflated
    created_at  timestamptz NOT NULL
);

-- The ledger: one row per paid call, written before the call.
CREATE TABLE llm_calls (
    id                uuid PRIMARY KEY,
    input_hash        text NOT NULL,
    purpose           text NOT NULL,      -- reading, reading_repair, expert
    source            text NOT NULL,
    session_id        text NOT NULL,
    generation        bigint NOT NULL,
    upstream          text NOT NULL,
    model             text NOT NULL,
    worker            text NOT NULL,
    state             text NOT NULL CHECK (state IN ('started', 'answered', 'failed', 'lost')),
    detail            text,               -- why it failed
    prompt_tokens     bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    cost_micros       bigint NOT NULL DEFAULT 0,   -- millionths of the configured currency
    started_at        timestamptz NOT NULL,
    finished_at       timestamptz
);
CREATE INDEX llm_calls_session ON llm_calls (source, session_id);
CREATE INDEX llm_calls_started ON llm_calls (worker) WHERE state = 'started';

-- Evidence: one row per question to a system of record. The answer is masked.
CREATE TABLE lookups (
    source      text NOT NULL,
    session_id  text NOT NULL,
    generation  bigint NOT NULL,
    seq         bigint NOT NULL,
    round       bigint NOT NULL,
    system      text NOT NULL,
    record      text NOT NULL,
    lookup      jsonb NOT NULL,            -- JSON
    request     text NOT NULL,
    status      bigint,
    answer      jsonb NOT NULL,            -- JSON, masked
    asked_at    timestamptz NOT NULL,
    latency_ms  bigint NOT NULL,
    PRIMARY KEY (source, session_id, generation, seq)
);

-- Answers that the verdict is computed from, handed from one system's job to the next. Gone once the verdict stands.
CREATE TABLE facts (
    source      text NOT NULL,
    session_id  text NOT NULL,
    generation  bigint NOT NULL,
    content     bytea NOT NULL,            -- JSON, deflated
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (source, session_id, generation)
);

-- One verdict per generation: old generations stay.
CREATE TABLE verdicts (
    source       text NOT NULL,
    session_id   text NOT NULL,
    generation   bigint NOT NULL,
    status       text NOT NULL CHECK (status IN ('pass', 'partial', 'fail', 'skipped', 'error')),
    reason       text NOT NULL,
    severity     text NOT NULL,
    intent       text NOT NULL,
    confidence   double precision NOT NULL,
    summary      text NOT NULL,
    playbook     text NOT NULL,
    playbook_version bigint NOT NULL,
    playbook_hash text NOT NULL,
    document     jsonb NOT NULL,           -- JSON: the whole verdict
    diff         jsonb,                    -- JSON: what changed against the generation before
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (source, session_id, generation)
);
CREATE INDEX verdicts_created ON verdicts (created_at);

-- The latest verdict of each session, in the columns that reports already know.
CREATE TABLE monitoring_results (
    source                 text NOT NULL,
    session_id             text NOT NULL,
    generation             bigint NOT NULL,
    intent_type            text NOT NULL,
    intent_confidence      double precision NOT NULL,
    verification_status    text NOT NULL CHECK (verification_status IN ('pass', 'partial', 'fail', 'skipped', 'error')),
    verdict_summary        text NOT NULL,
    diagnostic_status      text CHECK (diagnostic_status IN ('pending', 'complete', 'error', 'linked')),
    diagnostic_report_json jsonb,
    analyzed_at            timestamptz NOT NULL,
    diagnosed_at           timestamptz,
    PRIMARY KEY (source, session_id)
);
CREATE INDEX monitoring_results_analyzed ON monitoring_results (analyzed_at);
CREATE INDEX monitoring_results_status ON monitoring_results (verification_status, analyzed_at);
CREATE INDEX monitoring_results_pending ON monitoring_results (source, session_id) WHERE diagnostic_status = 'pending';

-- Alert rules that fired. At most one open alert per rule.
CREATE TABLE alerts (
    id          uuid PRIMARY KEY,
    rule        text NOT NULL,
    metric      text NOT NULL,
    severity    text NOT NULL,
    value       double precision NOT NULL,
    threshold   double precision NOT NULL,
    sessions    jsonb NOT NULL,            -- JSON: samples
    fired_at    timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX alerts_open ON alerts (rule) WHERE resolved_at IS NULL;
CREATE INDEX alerts_fired ON alerts (fired_at);
