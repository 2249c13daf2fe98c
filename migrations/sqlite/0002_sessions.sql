-- Sessions, what was read of them, and their verdicts. The jobs table can be rebuilt from these tables alone.

-- Where the scan of a source stands.
CREATE TABLE sources (
    name          TEXT PRIMARY KEY,
    kind          TEXT NOT NULL,
    watermark     TEXT,              -- JSON, the source's own
    updated_at    INTEGER NOT NULL
) STRICT;

-- What each discovery cycle found: kept and shown.
CREATE TABLE discovery_cycles (
    id            TEXT PRIMARY KEY,  -- the job's id
    source        TEXT NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    slices        INTEGER NOT NULL DEFAULT 0,
    seen          INTEGER NOT NULL DEFAULT 0,   -- sessions with activity
    new           INTEGER NOT NULL DEFAULT 0,
    settled       INTEGER NOT NULL DEFAULT 0,
    reopened      INTEGER NOT NULL DEFAULT 0,
    waiting       INTEGER NOT NULL DEFAULT 0,
    faults        INTEGER NOT NULL DEFAULT 0,   -- things that could not be read
    checked       INTEGER NOT NULL DEFAULT 0,   -- verdicts since the cycle before
    passed        INTEGER NOT NULL DEFAULT 0,
    failed        INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    errors        INTEGER NOT NULL DEFAULT 0,
    error         TEXT                           -- why it could not finish
) STRICT;
CREATE INDEX discovery_cycles_source ON discovery_cycles (source, started_at);

-- What a source holds that cannot be read: reported, never silently dropped.
CREATE TABLE source_faults (
    source     TEXT NOT NULL,
    position   TEXT NOT NULL,
    reason     TEXT NOT NULL,
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (source, position)
) STRICT;

CREATE TABLE sessions (
    source            TEXT NOT NULL,
    session_id        TEXT NOT NULL,
    environment       TEXT,
    first_activity_at INTEGER NOT NULL,
    last_activity_at  INTEGER NOT NULL,
    observation_count INTEGER NOT NULL,
    trace_count       INTEGER NOT NULL,
    digest            TEXT NOT NULL,      -- of the content as last scanned
    digest_since      INTEGER NOT NULL,   -- since when it is the same
    open_since        INTEGER NOT NULL,   -- since when it waits to settle
    ended             INTEGER NOT NULL DEFAULT 0,   -- an explicit end signal was seen
    incomplete        INTEGER NOT NULL DEFAULT 0,   -- settled by the deadline, not by rest
    state             TEXT NOT NULL CHECK (state IN ('open', 'settled', 'analyzing', 'verifying', 'done', 'reopened')),
    generation        INTEGER NOT NULL DEFAULT 1,
    analyzed_digest   TEXT,               -- of the content that the current generation judged
    system            TEXT,               -- verifying: the system whose turn it is
    look_round        INTEGER NOT NULL DEFAULT 0,   -- verifying: looks so far
    waiting_reason    TEXT,               -- why it is not done yet, for people
    waiting_until     INTEGER,
    discovered_at     INTEGER NOT NULL,
    settled_at        INTEGER,
    done_at           INTEGER,
    updated_at        INTEGER NOT NULL,
    PRIMARY KEY (source, session_id)
) STRICT;
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
    source       TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    digest       TEXT NOT NULL,
    observations INTEGER NOT NULL,
    content      BLOB NOT NULL,           -- JSON, deflated
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, generation)
) STRICT;
CREATE INDEX snapshots_created ON snapshots (created_at);

CREATE TABLE readings (
    source       TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    reader       TEXT NOT NULL,           -- JSON
    reading      TEXT NOT NULL,           -- JSON
    dropped      TEXT NOT NULL DEFAULT '[]',  -- JSON: items that did not hold, and why
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, generation)
) STRICT;

-- Paid answers by the hash of what was asked: never bought twice.
CREATE TABLE llm_answers (
    input_hash  TEXT PRIMARY KEY,
    model       TEXT NOT NULL,
    answer      BLOB NOT NULL,            -- JSON, deflated
    created_at  INTEGER NOT NULL
) STRICT;

-- The ledger: one row per paid call, written before the call.
CREATE TABLE llm_calls (
    id                TEXT PRIMARY KEY,
    input_hash        TEXT NOT NULL,
    purpose           TEXT NOT NULL,      -- reading, reading_repair, expert
    source            TEXT NOT NULL,
    session_id        TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    upstream          TEXT NOT NULL,
    model             TEXT NOT NULL,
    worker            TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('started', 'answered', 'failed', 'lost')),
    detail            TEXT,               -- why it failed
    prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cost_micros       INTEGER NOT NULL DEFAULT 0,   -- millionths of the configured currency
    started_at        INTEGER NOT NULL,
    finished_at       INTEGER
) STRICT;
CREATE INDEX llm_calls_session ON llm_calls (source, session_id);
CREATE INDEX llm_calls_started ON llm_calls (worker) WHERE state = 'started';

-- Evidence: one row per question to a system of record. The answer is masked.
CREATE TABLE lookups (
    source      TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    round       INTEGER NOT NULL,
    system      TEXT NOT NULL,
    record      TEXT NOT NULL,
    lookup      TEXT NOT NULL,            -- JSON
    request     TEXT NOT NULL,
    status      INTEGER,
    answer      TEXT NOT NULL,            -- JSON, masked
    asked_at    INTEGER NOT NULL,
    latency_ms  INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, generation, seq)
) STRICT;

-- Answers that the verdict is computed from, handed from one system's job to the next. Gone once the verdict stands.
CREATE TABLE facts (
    source      TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    content     BLOB NOT NULL,            -- JSON, deflated
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, generation)
) STRICT;

-- One verdict per generation: old generations stay.
CREATE TABLE verdicts (
    source       TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pass', 'partial', 'fail', 'skipped', 'error')),
    reason       TEXT NOT NULL,
    severity     TEXT NOT NULL,
    intent       TEXT NOT NULL,
    confidence   REAL NOT NULL,
    summary      TEXT NOT NULL,
    playbook     TEXT NOT NULL,
    playbook_version INTEGER NOT NULL,
    playbook_hash TEXT NOT NULL,
    document     TEXT NOT NULL,           -- JSON: the whole verdict
    diff         TEXT,                    -- JSON: what changed against the generation before
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (source, session_id, generation)
) STRICT;
CREATE INDEX verdicts_created ON verdicts (created_at);

-- The latest verdict of each session, in the columns that reports already know.
CREATE TABLE monitoring_results (
    source                 TEXT NOT NULL,
    session_id             TEXT NOT NULL,
    generation             INTEGER NOT NULL,
    intent_type            TEXT NOT NULL,
    intent_confidence      REAL NOT NULL,
    verification_status    TEXT NOT NULL CHECK (verification_status IN ('pass', 'partial', 'fail', 'skipped', 'error')),
    verdict_summary        TEXT NOT NULL,
    diagnostic_status      TEXT CHECK (diagnostic_status IN ('pending', 'complete', 'error', 'linked')),
    diagnostic_report_json TEXT,
    analyzed_at            INTEGER NOT NULL,
    diagnosed_at           INTEGER,
    PRIMARY KEY (source, session_id)
) STRICT;
CREATE INDEX monitoring_results_analyzed ON monitoring_results (analyzed_at);
CREATE INDEX monitoring_results_status ON monitoring_results (verification_status, analyzed_at);
CREATE INDEX monitoring_results_pending ON monitoring_results (source, session_id) WHERE diagnostic_status = 'pending';

-- Alert rules that fired. At most one open alert per rule.
CREATE TABLE alerts (
    id          TEXT PRIMARY KEY,
    rule        TEXT NOT NULL,
    metric      TEXT NOT NULL,
    severity    TEXT NOT NULL,
    value       REAL NOT NULL,
    threshold   REAL NOT NULL,
    sessions    TEXT NOT NULL,            -- JSON: samples
    fired_at    INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    resolved_at INTEGER
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (rule) WHERE resolved_at IS NULL;
CREATE INDEX alerts_fired ON alerts (fired_at);
