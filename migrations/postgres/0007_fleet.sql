-- What a fleet needs: queues without a limit, what other programs need to know to enqueue, and which versions may work side by
-- side. An attempt is written once, when it ends: until then the job's own row says all of it.

-- The oldest schema version whose aftercall may still work on this database. A migration that takes something away raises it.
CREATE TABLE schema_info (
    oldest_beside bigint NOT NULL
);
INSERT INTO schema_info (oldest_beside) VALUES (7);

-- max_running: null is no limit. The last three columns are the job's policy, for who enqueues without knowing it.
ALTER TABLE limits ALTER COLUMN max_running DROP NOT NULL;
ALTER TABLE limits ADD COLUMN per_partition boolean NOT NULL DEFAULT false;
ALTER TABLE limits ADD COLUMN max_attempts bigint NOT NULL DEFAULT 8;
ALTER TABLE limits ADD COLUMN priority bigint NOT NULL DEFAULT 0;

-- slot: null where the queue has no limit.
DELETE FROM job_attempts WHERE finished_at IS NULL;
UPDATE job_attempts SET outcome = COALESCE(outcome, 'rescued'),
    duration_us = COALESCE(duration_us, (extract(epoch FROM finished_at - started_at) * 1000000)::bigint)
    WHERE outcome IS NULL OR duration_us IS NULL;
ALTER TABLE job_attempts ALTER COLUMN slot DROP NOT NULL;
ALTER TABLE job_attempts ALTER COLUMN finished_at SET NOT NULL;
ALTER TABLE job_attempts ALTER COLUMN outcome SET NOT NULL;
ALTER TABLE job_attempts ALTER COLUMN duration_us SET NOT NULL;

-- A queue's table lives on rows that come and go: it is vacuumed long before a fifth of it is dead, and rows have room to be
-- changed in place.
ALTER TABLE jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
                      autovacuum_vacuum_cost_delay = 0);
ALTER TABLE limits SET (fillfactor = 50);
ALTER TABLE lanes SET (fillfactor = 50);
ALTER TABLE workers SET (fillfactor = 50);

-- The clock of all processes.
CREATE FUNCTION aftercall_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- A version 7 UUID: its first 48 bits are the milliseconds since 1970, so that ids follow time.
CREATE FUNCTION aftercall_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- Enqueues a job from any program, in that program's own transaction, and tells the workers once it commits. Answers the job's
-- id; where a live job of the queue has the same unique key, that one's. The queue has to be known: every aftercall process and
-- `aftercall migrate` make theirs known.
--
--   SELECT aftercall_enqueue('discover_sessions', '{"source": "calls"}', unique_key => 'calls');
CREATE FUNCTION aftercall_enqueue(
    queue      text,
    args       jsonb,
    unique_key text DEFAULT NULL,
    partition  text DEFAULT '',
    priority   bigint DEFAULT NULL,        -- higher first; null: the job's own
    run_at     timestamptz DEFAULT NULL,   -- not before this; null: at once
    gate       text DEFAULT NULL           -- of the upstream that it calls first, such as records:practice
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    pattern limits%ROWTYPE;
    now_is  timestamptz := aftercall_now();
    key_is  text;
    id_is   uuid;
BEGIN
    SELECT * INTO pattern FROM limits l WHERE l.key = aftercall_enqueue.queue;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'aftercall has no queue %', quote_literal(queue) USING
            HINT = 'Queues: ' || COALESCE((SELECT string_agg(l.key, ', ' ORDER BY l.key) FROM limits l WHERE l.key = l.queue),
                                          'none yet: run `aftercall migrate`');
    END IF;
    IF jsonb_typeof(args) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the arguments of a job are a JSON object';
    END IF;
    key_is := queue;
    IF pattern.per_partition THEN
        key_is := queue || '/' || partition;
        INSERT INTO limits (key, queue, partition, max_running, rate_max, rate_window_us, pinned, updated_at,
                            per_partition, max_attempts, priority)
            VALUES (key_is, aftercall_enqueue.queue, aftercall_enqueue.partition, pattern.max_running, pattern.rate_max,
                    pattern.rate_window_us, pattern.pinned, now_is, true, pattern.max_attempts, pattern.priority)
            ON CONFLICT (key) DO NOTHING;
    END IF;
    LOOP
        id_is := aftercall_uuid();
        INSERT INTO jobs (id, queue, partition, limit_key, unique_key, args, priority, state, run_at, max_attempts, created_at,
                          gate)
            VALUES (id_is, aftercall_enqueue.queue, aftercall_enqueue.partition, key_is, aftercall_enqueue.unique_key,
                    aftercall_enqueue.args, COALESCE(aftercall_enqueue.priority, pattern.priority),
                    CASE WHEN aftercall_enqueue.run_at > now_is THEN 'scheduled' ELSE 'available' END,
                    COALESCE(aftercall_enqueue.run_at, now_is), pattern.max_attempts, now_is, aftercall_enqueue.gate)
            ON CONFLICT (queue, unique_key)
                WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable')
            DO NOTHING;
        IF FOUND THEN
            PERFORM pg_notify('aftercall_jobs', '');
            RETURN id_is;
        END IF;
        SELECT j.id INTO id_is FROM jobs j
            WHERE j.queue = aftercall_enqueue.queue AND j.unique_key = aftercall_enqueue.unique_key
              AND j.state IN ('available', 'scheduled', 'running', 'retryable');
        -- It may have ended in the meantime.
        IF FOUND THEN
            RETURN id_is;
        END IF;
    END LOOP;
END
$$;
