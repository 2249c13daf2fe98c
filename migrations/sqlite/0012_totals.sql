-- Totals that only grow, for monitoring: rows that are counted here may be pruned and are not read again. What ended after
-- totals_until is counted from the rows themselves.

CREATE TABLE totals_until (
    stream   TEXT PRIMARY KEY,        -- attempts, verdicts, llm_calls
    until_at INTEGER NOT NULL
) STRICT;

CREATE TABLE attempt_totals (
    queue    TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    busy_us  INTEGER NOT NULL,         -- how long they took, all together
    PRIMARY KEY (queue, outcome)
) STRICT;

CREATE TABLE verdict_totals (
    status   TEXT NOT NULL,
    intent   TEXT NOT NULL,
    verdicts INTEGER NOT NULL,
    PRIMARY KEY (status, intent)
) STRICT;

CREATE TABLE llm_totals (
    purpose           TEXT NOT NULL,
    model             TEXT NOT NULL,
    source            TEXT NOT NULL,
    state             TEXT NOT NULL,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_micros       INTEGER NOT NULL,   -- of lost calls: the most that they may have cost
    PRIMARY KEY (purpose, model, source, state)
) STRICT;

-- Written with the evidence: a system has one lane, so that nobody waits for anybody here.
CREATE TABLE lookup_totals (
    system     TEXT NOT NULL,
    up_to_ms   INTEGER NOT NULL,         -- answered within so many milliseconds, and not within the bound before; 0: in more than all
    lookups    INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,         -- all together
    PRIMARY KEY (system, up_to_ms)
) STRICT;

INSERT INTO totals_until (stream, until_at)
    SELECT stream, CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 - 600000000
    FROM (SELECT 'attempts' AS stream UNION ALL SELECT 'verdicts' UNION ALL SELECT 'llm_calls');
-- A call that is still open belongs to what is not counted yet.
UPDATE totals_until SET until_at = min(until_at, COALESCE(
        (SELECT min(started_at) - 1 FROM llm_calls WHERE state = 'started'), until_at))
    WHERE stream = 'llm_calls';
INSERT INTO attempt_totals (queue, outcome, attempts, busy_us)
    SELECT queue, outcome, count(*), sum(duration_us) FROM job_attempts
    WHERE finished_at <= (SELECT until_at FROM totals_until WHERE stream = 'attempts') GROUP BY queue, outcome;
INSERT INTO verdict_totals (status, intent, verdicts)
    SELECT status, intent, count(*) FROM verdicts
    WHERE created_at <= (SELECT until_at FROM totals_until WHERE stream = 'verdicts') GROUP BY status, intent;
INSERT INTO llm_totals (purpose, model, source, state, calls, prompt_tokens, completion_tokens, cost_micros)
    SELECT purpose, model, source, state, count(*), sum(prompt_tokens), sum(completion_tokens),
           sum(CASE state WHEN 'lost' THEN bound_micros ELSE cost_micros END)
    FROM llm_calls WHERE started_at <= (SELECT until_at FROM totals_until WHERE stream = 'llm_calls')
    GROUP BY purpose, model, source, state;
INSERT INTO lookup_totals (system, up_to_ms, lookups, latency_ms)
    SELECT system, bound, count(*), sum(latency_ms) FROM (
        SELECT system, latency_ms, CASE WHEN latency_ms <= 50 THEN 50 WHEN latency_ms <= 100 THEN 100
            WHEN latency_ms <= 250 THEN 250 WHEN latency_ms <= 500 THEN 500 WHEN latency_ms <= 1000 THEN 1000
            WHEN latency_ms <= 2500 THEN 2500 WHEN latency_ms <= 5000 THEN 5000 WHEN latency_ms <= 10000 THEN 10000
            WHEN latency_ms <= 30000 THEN 30000 ELSE 0 END AS bound
        FROM lookups) AS bounded GROUP BY system, bound;
