-- Totals that only grow, for monitoring: rows that are counted here may be pruned and are not read again. What ended after
-- totals_until is counted from the rows themselves.

CREATE TABLE totals_until (
    stream   text PRIMARY KEY,        -- attempts, verdicts, llm_calls
    until_at timestamptz NOT NULL
);

CREATE TABLE attempt_totals (
    queue    text NOT NULL,
    outcome  text NOT NULL,
    attempts bigint NOT NULL,
    busy_us  bigint NOT NULL,         -- how long they took, all together
    PRIMARY KEY (queue, outcome)
);

CREATE TABLE verdict_totals (
    status   text NOT NULL,
    intent   text NOT NULL,
    verdicts bigint NOT NULL,
    PRIMARY KEY (status, intent)
);

CREATE TABLE llm_totals (
    purpose           text NOT NULL,
    model             text NOT NULL,
    source            text NOT NULL,
    state             text NOT NULL,
    calls             bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cost_micros       bigint NOT NULL,   -- of lost calls: the most that they may have cost
    PRIMARY KEY (purpose, model, source, state)
);

-- Written with the evidence: a system has one lane, so that nobody waits for anybody here.
CREATE TABLE lookup_totals (
    system     text NOT NULL,
    up_to_ms   bigint NOT NULL,         -- answered within so many milliseconds, and not within the bound before; 0: in more than all
    lookups    bigint NOT NULL,
    latency_ms bigint NOT NULL,         -- all together
    PRIMARY KEY (system, up_to_ms)
);

INSERT INTO totals_until (stream, until_at)
    SELECT stream, clock_timestamp() - interval '10 minutes' FROM (VALUES ('attempts'), ('verdicts'), ('llm_calls')) AS streams (stream);
-- A call that is still open belongs to what is not counted yet.
UPDATE totals_until SET until_at = LEAST(until_at, COALESCE(
        (SELECT min(started_at) - interval '1 microsecond' FROM llm_calls WHERE state = 'started'), until_at))
    WHERE stream = 'llm_calls';
INSERT INTO attempt_totals (queue, outcome, attempts, busy_us)
    SELECT queue, outcome, count(*), sum(duration_us)::bigint FROM job_attempts
    WHERE finished_at <= (SELECT until_at FROM totals_until WHERE stream = 'attempts') GROUP BY queue, outcome;
INSERT INTO verdict_totals (status, intent, verdicts)
    SELECT status, intent, count(*) FROM verdicts
    WHERE created_at <= (SELECT until_at FROM totals_until WHERE stream = 'verdicts') GROUP BY status, intent;
INSERT INTO llm_totals (purpose, model, source, state, calls, prompt_tokens, completion_tokens, cost_micros)
    SELECT purpose, model, source, state, count(*), sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint,
           sum(CASE state WHEN 'lost' THEN bound_micros ELSE cost_micros END)::bigint
    FROM llm_calls WHERE started_at <= (SELECT until_at FROM totals_until WHERE stream = 'llm_calls')
    GROUP BY purpose, model, source, state;
INSERT INTO lookup_totals (system, up_to_ms, lookups, latency_ms)
    SELECT system, bound, count(*), sum(latency_ms)::bigint FROM (
        SELECT system, latency_ms, CASE WHEN latency_ms <= 50 THEN 50 WHEN latency_ms <= 100 THEN 100
            WHEN latency_ms <= 250 THEN 250 WHEN latency_ms <= 500 THEN 500 WHEN latency_ms <= 1000 THEN 1000
            WHEN latency_ms <= 2500 THEN 2500 WHEN latency_ms <= 5000 THEN 5000 WHEN latency_ms <= 10000 THEN 10000
            WHEN latency_ms <= 30000 THEN 30000 ELSE 0 END AS bound
        FROM lookups) AS bounded GROUP BY system, bound;
