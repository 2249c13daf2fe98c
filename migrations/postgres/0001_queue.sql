-- The durable queue. It knows nothing of sessions.
-- The same tables and columns as in sqlite/0001_queue.sql, in PostgreSQL's own types.

CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    queue               text NOT NULL,                -- the job's NAME: stored data, never renamed
    partition           text NOT NULL DEFAULT '',
    limit_key           text NOT NULL,                -- limits.key whose running jobs it counts among
    unique_key          text,                         -- at most one live job per queue and key
    args                jsonb NOT NULL,
    priority            bigint NOT NULL DEFAULT 0,   -- higher first
    state               text NOT NULL CHECK (state IN ('available', 'scheduled', 'running', 'retryable', 'completed', 'cancelled', 'discarded')),
    run_at              timestamptz NOT NULL,
    attempt             bigint NOT NULL DEFAULT 0,   -- counted at claim; snooze and hand-back refund it
    max_attempts        bigint NOT NULL,
    rescues             bigint NOT NULL DEFAULT 0,   -- times its worker died; not refunded
    snoozes             bigint NOT NULL DEFAULT 0,   -- in a row; the snooze's own back-off counts by it
    rate_charged        boolean NOT NULL DEFAULT false,   -- true once its start stands in rate_starts
    lease               uuid,                         -- fresh at every claim: the fence
    lease_expires_at    timestamptz,
    worker              text,
    slot                bigint,                      -- 0 .. limit-1 while running
    cancel_requested_at timestamptz,
    wait_reason         text,                         -- why it is not running yet, for people
    last_error          text,
    progress            jsonb,                         -- JSON, written by the job
    trace_context       text,                         -- W3C traceparent of the enqueuer
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,                      -- of the latest attempt
    finished_at         timestamptz
);

-- One live job per unique key; free again once it is completed, cancelled or discarded.
CREATE UNIQUE INDEX jobs_unique_live ON jobs (queue, unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable');
-- The backstop of exact limits: two running jobs cannot hold one slot.
CREATE UNIQUE INDEX jobs_slot ON jobs (limit_key, slot) WHERE state = 'running';
-- Claiming: the next job of one limit key is the first row of this index, however long the others' backlog is.
CREATE INDEX jobs_claim ON jobs (limit_key, priority DESC, run_at, id) WHERE state = 'available';
-- The same for jobs whose start stands in rate_starts already: they start even while their key's rate is used up.
CREATE INDEX jobs_claim_charged ON jobs (limit_key, priority DESC, run_at, id) WHERE state = 'available' AND rate_charged;
-- Promotion of jobs whose time has come.
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('scheduled', 'retryable');
-- Rescue.
CREATE INDEX jobs_leases ON jobs (lease_expires_at) WHERE state = 'running';
-- Pruning, and "what ended lately".
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE state IN ('completed', 'cancelled', 'discarded');

-- One row per claim: history is never overwritten. An attempt's number repeats after a snooze; its lease never does.
CREATE TABLE job_attempts (
    lease        uuid PRIMARY KEY,
    job_id       uuid NOT NULL,
    queue        text NOT NULL,
    limit_key    text NOT NULL,
    slot         bigint NOT NULL,
    attempt      bigint NOT NULL,
    worker       text NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    outcome      text,            -- completed, snoozed, retried, discarded, cancelled, handed_back, rescued
    error        text,            -- also the reason of a snooze
    duration_us  bigint
);
CREATE INDEX job_attempts_job ON job_attempts (job_id, started_at);
CREATE INDEX job_attempts_finished ON job_attempts (finished_at);

CREATE TABLE queues (
    name         text PRIMARY KEY,
    paused_at    timestamptz,         -- null: not paused
    paused_by    text,
    pause_reason text,
    updated_at   timestamptz NOT NULL
);

-- How many jobs of a key may run at once in the whole fleet, and how many may start in any window.
-- key = queue, or queue/partition where the queue is limited per partition.
CREATE TABLE limits (
    key            text PRIMARY KEY,
    queue          text NOT NULL,
    partition      text NOT NULL DEFAULT '',
    max_running    bigint NOT NULL,
    rate_max       bigint,       -- null: no rate
    rate_window_us bigint,
    pinned         boolean NOT NULL DEFAULT false,  -- true: set by an operator; configuration does not overwrite it
    updated_at     timestamptz NOT NULL
);
CREATE INDEX limits_queue ON limits (queue);

-- Starts charged against a rate: a table of its own, so that it survives the loss of jobs.
CREATE TABLE rate_starts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    limit_key  text NOT NULL,
    job_id     uuid NOT NULL,
    started_at timestamptz NOT NULL
);
CREATE INDEX rate_starts_window ON rate_starts (limit_key, started_at);

-- An upstream that is not to be called now, with the reason.
CREATE TABLE gates (
    key        text PRIMARY KEY,  -- source:…, llm:…, records:…, destination:…
    state      text NOT NULL CHECK (state IN ('open', 'half_open', 'closed')),
    reason     text,
    detail     text,
    failures   bigint NOT NULL DEFAULT 0,
    closed_at  timestamptz,
    probe_at   timestamptz,
    probe_lease uuid,
    updated_at timestamptz NOT NULL
);

-- The pace of a system of record, held across processes.
CREATE TABLE lanes (
    system       text PRIMARY KEY,
    next_call_at timestamptz NOT NULL
);

CREATE TABLE workers (
    id           text PRIMARY KEY,  -- fresh at every start of a process
    host         text NOT NULL,
    pid          bigint NOT NULL,
    version      text NOT NULL,
    queues       jsonb NOT NULL,     -- JSON array of names
    started_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    stopped_at   timestamptz
);

-- A tick fires once in the whole fleet: the row is inserted in the transaction that enqueues its job.
CREATE TABLE cron_ticks (
    name        text NOT NULL,
    tick        timestamptz NOT NULL,
    job_id      uuid,
    late_us     bigint NOT NULL,   -- how long after its time it fired
    missed      bigint NOT NULL DEFAULT 0,  -- ticks before it that nobody fired
    fired_at    timestamptz NOT NULL,
    PRIMARY KEY (name, tick)
);

CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    detail  text
);
CREATE INDEX audit_log_at ON audit_log (at);
