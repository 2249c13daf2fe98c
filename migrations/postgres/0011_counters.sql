-- How many jobs of a queue are in which state, how fast they come and go and how long they wait, without counting them: every
-- change of state is noted in the transaction that made it, and what was noted is added up by and by. Notes are only ever
-- inserted, so that no two transactions wait for each other. Triggers note, so that other programs and older versions do too.

-- Without a key or an index: every change pays for them.
CREATE TABLE queue_transitions (
    at           timestamptz NOT NULL,
    queue        text NOT NULL,
    from_state   text,           -- null: it was not there
    from_held_by text,           -- the shut gate that held it: gates.key
    to_state     text,           -- null: it is not there any more
    to_held_by   text,
    wait         bigint,         -- of a start: wait_buckets.wait, how long the job had been due
    n            bigint NOT NULL -- how many jobs did so in one statement
);
-- Rows come and go within a second or so.
ALTER TABLE queue_transitions SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
                                   autovacuum_vacuum_cost_delay = 0);

-- What was noted, added up, without what is in queue_transitions.
CREATE TABLE queue_counts (
    queue   text NOT NULL,
    state   text NOT NULL,
    held_by text NOT NULL,   -- the shut gate that holds them; empty: none
    n       bigint NOT NULL,
    PRIMARY KEY (queue, state, held_by)
);
ALTER TABLE queue_counts SET (fillfactor = 50);

-- What happened in each minute. Kept for two days.
CREATE TABLE queue_minutes (
    minute timestamptz NOT NULL,
    queue  text NOT NULL,
    event  text NOT NULL,    -- in: came to wait; out: ended or was deleted; start
    wait   bigint NOT NULL,  -- of starts: wait_buckets.wait; else -1
    n      bigint NOT NULL,
    PRIMARY KEY (minute, queue, event, wait)
);
ALTER TABLE queue_minutes SET (fillfactor = 70);

-- How long is how long: each bucket reaches a quarter further than the one before it, and the last one for ever.
CREATE TABLE wait_buckets (
    wait     bigint PRIMARY KEY,
    up_to_us bigint NOT NULL
);
INSERT INTO wait_buckets (wait, up_to_us)
    SELECT wait, floor(1000 * 1.25::float8 ^ wait)::bigint FROM generate_series(0, 119) AS wait;

-- Jobs by queue, state and gate, as of now.
CREATE VIEW queue_depths AS
    SELECT queue, state, held_by, CAST(sum(n) AS bigint) AS n FROM (
        SELECT queue, state, held_by, n FROM queue_counts
        UNION ALL
        SELECT queue, to_state, COALESCE(to_held_by, ''), n FROM queue_transitions WHERE to_state IS NOT NULL
        UNION ALL
        SELECT queue, from_state, COALESCE(from_held_by, ''), -n FROM queue_transitions WHERE from_state IS NOT NULL
    ) AS noted GROUP BY queue, state, held_by;

CREATE FUNCTION aftercall_note_new_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_transitions (at, queue, to_state, to_held_by, n)
        SELECT aftercall_now(), queue, state, held_by, count(*) FROM new_jobs GROUP BY queue, state, held_by;
    RETURN NULL;
END
$$;

-- The bucket of a start: wait_buckets.wait.
CREATE FUNCTION aftercall_wait(started_at timestamptz, run_at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN started_at IS NOT NULL AND isfinite(run_at) THEN LEAST(GREATEST(ceil(
        ln(GREATEST(extract(epoch FROM started_at - run_at)::float8 * 1000, 1)) / ln(1.25::float8)), 0), 119)::bigint END
$$;

-- One job is looked at by itself: that is most of them, and costs less. Of many a full join is never done row against row: the plan
-- is made once, for a few, and then there may be 50,000. A job that changed its queue or its id went away there and is new here.
CREATE FUNCTION aftercall_note_changed_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM new_jobs OFFSET 1) THEN
        INSERT INTO queue_transitions (at, queue, from_state, from_held_by, to_state, to_held_by, wait, n)
            SELECT aftercall_now(), is_now.queue, was.state, was.held_by, is_now.state, is_now.held_by,
                   CASE WHEN is_now.state = 'running' THEN aftercall_wait(is_now.started_at, is_now.run_at) END, 1
            FROM old_jobs AS was CROSS JOIN new_jobs AS is_now
            WHERE is_now.queue = was.queue
                AND (is_now.state <> was.state OR is_now.held_by IS DISTINCT FROM was.held_by);
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, to_state, to_held_by, wait, n)
        SELECT aftercall_now(), COALESCE(is_now.queue, was.queue), was.state, was.held_by, is_now.state, is_now.held_by,
               CASE WHEN is_now.state = 'running' THEN aftercall_wait(is_now.started_at, is_now.run_at) END, count(*)
        FROM old_jobs AS was FULL JOIN new_jobs AS is_now ON is_now.id = was.id AND is_now.queue = was.queue
        WHERE was.state IS DISTINCT FROM is_now.state OR was.held_by IS DISTINCT FROM is_now.held_by
        GROUP BY 2, 3, 4, 5, 6, 7;
    RETURN NULL;
END
$$;

CREATE FUNCTION aftercall_note_deleted_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, n)
        SELECT aftercall_now(), queue, state, held_by, count(*) FROM old_jobs GROUP BY queue, state, held_by;
    RETURN NULL;
END
$$;

CREATE FUNCTION aftercall_note_truncated_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, n)
        SELECT aftercall_now(), queue, state, NULLIF(held_by, ''), n FROM queue_depths WHERE n <> 0;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_note_new AFTER INSERT ON jobs REFERENCING NEW TABLE AS new_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION aftercall_note_new_jobs();
CREATE TRIGGER jobs_note_changed AFTER UPDATE ON jobs REFERENCING OLD TABLE AS old_jobs NEW TABLE AS new_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION aftercall_note_changed_jobs();
CREATE TRIGGER jobs_note_deleted AFTER DELETE ON jobs REFERENCING OLD TABLE AS old_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION aftercall_note_deleted_jobs();
CREATE TRIGGER jobs_note_truncated AFTER TRUNCATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION aftercall_note_truncated_jobs();

-- What is there already: from here on nobody writes before all of this is there.
INSERT INTO queue_counts (queue, state, held_by, n)
    SELECT queue, state, COALESCE(held_by, ''), count(*) FROM jobs GROUP BY 1, 2, 3;
