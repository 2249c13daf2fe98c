-- What a fleet needs: queues without a limit, what other programs need to know to enqueue, and which versions may work side by
-- side. An attempt is written once, when it ends: until then the job's own row says all of it.

-- The oldest schema version whose aftercall may still work on this database. A migration that takes something away raises it.
CREATE TABLE schema_info (
    oldest_beside INTEGER NOT NULL
) STRICT;
INSERT INTO schema_info (oldest_beside) VALUES (7);

-- max_running: null is no limit. The last three columns are the job's policy, for who enqueues without knowing it.
CREATE TABLE limits_new (
    key            TEXT PRIMARY KEY,
    queue          TEXT NOT NULL,
    partition      TEXT NOT NULL DEFAULT '',
    max_running    INTEGER,
    rate_max       INTEGER,
    rate_window_us INTEGER,
    pinned         INTEGER NOT NULL DEFAULT 0,
    updated_at     INTEGER NOT NULL,
    per_partition  INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL DEFAULT 8,
    priority       INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO limits_new (key, queue, partition, max_running, rate_max, rate_window_us, pinned, updated_at)
    SELECT key, queue, partition, max_running, rate_max, rate_window_us, pinned, updated_at FROM limits;
DROP TABLE limits;
ALTER TABLE limits_new RENAME TO limits;
CREATE INDEX limits_queue ON limits (queue);

-- slot: null where the queue has no limit.
DELETE FROM job_attempts WHERE finished_at IS NULL;
CREATE TABLE job_attempts_new (
    lease        TEXT PRIMARY KEY,
    job_id       TEXT NOT NULL,
    queue        TEXT NOT NULL,
    limit_key    TEXT NOT NULL,
    slot         INTEGER,
    attempt      INTEGER NOT NULL,
    worker       TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER NOT NULL,
    outcome      TEXT NOT NULL,   -- completed, snoozed, retried, discarded, cancelled, handed_back, rescued
    error        TEXT,            -- also the reason of a snooze
    duration_us  INTEGER NOT NULL
) STRICT;
INSERT INTO job_attempts_new
    SELECT lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, COALESCE(outcome, 'rescued'), error,
           COALESCE(duration_us, finished_at - started_at) FROM job_attempts;
DROP TABLE job_attempts;
ALTER TABLE job_attempts_new RENAME TO job_attempts;
CREATE INDEX job_attempts_job ON job_attempts (job_id, started_at);
CREATE INDEX job_attempts_finished ON job_attempts (finished_at);
