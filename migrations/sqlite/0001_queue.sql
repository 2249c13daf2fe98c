-- The durable queue. It knows nothing of sessions.
-- Instants are integer microseconds since 1970 UTC; ids are UUIDv7 text; JSON is text.

CREATE TABLE jobs (
    id                  TEXT PRIMARY KEY,
    queue               TEXT NOT NULL,                -- the job's NAME: stored data, never renamed
    partition           TEXT NOT NULL DEFAULT '',
    limit_key           TEXT NOT NULL,                -- limits.key whose running jobs it counts among
    unique_key          TEXT,                         -- at most one live job per queue and key
    args                TEXT NOT NULL,
    priority            INTEGER NOT NULL DEFAULT 0,   -- higher first
    state               TEXT NOT NULL CHECK (state IN ('available', 'scheduled', 'running', 'retryable', 'completed', 'cancelled', 'discarded')),
    run_at              INTEGER NOT NULL,
    attempt             INTEGER NOT NULL DEFAULT 0,   -- counted at claim; snooze and hand-back refund it
    max_attempts        INTEGER NOT NULL,
    rescues             INTEGER NOT NULL DEFAULT 0,   -- times its worker died; not refunded
    snoozes             INTEGER NOT NULL DEFAULT 0,   -- in a row; the snooze's own back-off counts by it
    rate_charged        INTEGER NOT NULL DEFAULT 0,   -- 1 once its start stands in rate_starts
    lease               TEXT,                         -- fresh at every claim: the fence
    lease_expires_at    INTEGER,
    worker              TEXT,
    slot                INTEGER,                      -- 0 .. limit-1 while running
    cancel_requested_at INTEGER,
    wait_reason         TEXT,                         -- why it is not running yet, for people
    last_error          TEXT,
    progress            TEXT,                         -- JSON, written by the job
    trace_context       TEXT,                         -- W3C traceparent of the enqueuer
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,                      -- of the latest attempt
    finished_at         INTEGER
) STRICT;

-- One live job per unique key; free again once it is completed, cancelled or discarded.
CREATE UNIQUE INDEX jobs_unique_live ON jobs (queue, unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
-- The backstop of exact limits: two running jobs cannot hold one slot.
CREATE UNIQUE INDEX jobs_slot ON jobs (limit_key, slot) WHERE state = 'running';
-- Claiming: the next job of one limit key is the first row of this index, however long the others' backlog is.
CREATE INDEX jobs_claim ON jobs (limit_key, priority DESC, run_at, id) WHERE state = 'available';
-- The same for jobs whose start stands in rate_starts already: they start even while their key's rate is used up.
CREATE INDEX jobs_claim_charged ON jobs (limit_key, priority DESC, run_at, id) WHERE state = 'available' AND rate_charged = 1;
-- Promotion of jobs whose time has come.
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('scheduled', 'retryable');
-- Rescue.
CREATE INDEX jobs_leases ON jobs (lease_expires_at) WHERE state = 'running';
-- Pruning, and "what ended lately".
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE state IN ('completed', 'cancelled', 'discarded');

-- One row per claim: history is never overwritten. An attempt's number repeats after a snooze; its lease never does.
CREATE TABLE job_attempts (
    lease        TEXT PRIMARY KEY,
    job_id       TEXT NOT NULL,
    queue        TEXT NOT NULL,
    limit_key    TEXT NOT NULL,
    slot         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    worker       TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    outcome      TEXT,            -- completed, snoozed, retried, discarded, cancelled, handed_back, rescued
    error        TEXT,            -- also the reason of a snooze
    duration_us  INTEGER
) STRICT;
CREATE INDEX job_attempts_job ON job_attempts (job_id, started_at);
CREATE INDEX job_attempts_finished ON job_attempts (finished_at);

CREATE TABLE queues (
    name         TEXT PRIMARY KEY,
    paused_at    INTEGER,         -- null: not paused
    paused_by    TEXT,
    pause_reason TEXT,
    updated_at   INTEGER NOT NULL
) STRICT;

-- How many jobs of a key may run at once in the whole fleet, and how many may start in any window.
-- key = queue, or queue/partition where the queue is limited per partition.
CREATE TABLE limits (
    key            TEXT PRIMARY KEY,
    queue          TEXT NOT NULL,
    partition      TEXT NOT NULL DEFAULT '',
    max_running    INTEGER NOT NULL,
    rate_max       INTEGER,       -- null: no rate
    rate_window_us INTEGER,
    pinned         INTEGER NOT NULL DEFAULT 0,  -- 1: set by an operator; configuration does not overwrite it
    updated_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX limits_queue ON limits (queue);

-- Starts charged against a rate: a table of its own, so that it survives the loss of jobs.
CREATE TABLE rate_starts (
    id         INTEGER PRIMARY KEY,
    limit_key  TEXT NOT NULL,
    job_id     TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE INDEX rate_starts_window ON rate_starts (limit_key, started_at);

-- An upstream that is not to be called now, with the reason.
CREATE TABLE gates (
    key        TEXT PRIMARY KEY,  -- source:…, llm:…, records:…, destination:…
    state      TEXT NOT NULL CHECK (state IN ('open', 'half_open', 'closed')),
    reason     TEXT,
    detail     TEXT,
    failures   INTEGER NOT NULL DEFAULT 0,
    closed_at  INTEGER,
    probe_at   INTEGER,
    probe_lease TEXT,
    updated_at INTEGER NOT NULL
) STRICT;

-- The pace of a system of record, held across processes.
CREATE TABLE lanes (
    system       TEXT PRIMARY KEY,
    next_call_at INTEGER NOT NULL
) STRICT;

CREATE TABLE workers (
    id           TEXT PRIMARY KEY,  -- fresh at every start of a process
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    version      TEXT NOT NULL,
    queues       TEXT NOT NULL,     -- JSON array of names
    started_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    stopped_at   INTEGER
) STRICT;

-- A tick fires once in the whole fleet: the row is inserted in the transaction that enqueues its job.
CREATE TABLE cron_ticks (
    name        TEXT NOT NULL,
    tick        INTEGER NOT NULL,
    job_id      TEXT,
    late_us     INTEGER NOT NULL,   -- how long after its time it fired
    missed      INTEGER NOT NULL DEFAULT 0,  -- ticks before it that nobody fired
    fired_at    INTEGER NOT NULL,
    PRIMARY KEY (name, tick)
) STRICT;

CREATE TABLE audit_log (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT
) STRICT;
CREATE INDEX audit_log_at ON audit_log (at);
