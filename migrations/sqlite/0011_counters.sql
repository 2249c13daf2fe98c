-- How many jobs of a queue are in which state, how fast they come and go and how long they wait, without counting them: every
-- change of state is noted in the transaction that made it, and what was noted is added up by and by. Notes are only ever
-- inserted. Triggers note, so that older versions do too.

-- Without a key or an index: every change pays for them.
CREATE TABLE queue_transitions (
    at           INTEGER NOT NULL,
    queue        TEXT NOT NULL,
    from_state   TEXT,            -- null: it was not there
    from_held_by TEXT,            -- the shut gate that held it: gates.key
    to_state     TEXT,            -- null: it is not there any more
    to_held_by   TEXT,
    wait         INTEGER,         -- of a start: wait_buckets.wait, how long the job had been due
    n            INTEGER NOT NULL -- how many jobs did so
) STRICT;

-- What was noted, added up, without what is in queue_transitions.
CREATE TABLE queue_counts (
    queue   TEXT NOT NULL,
    state   TEXT NOT NULL,
    held_by TEXT NOT NULL,   -- the shut gate that holds them; empty: none
    n       INTEGER NOT NULL,
    PRIMARY KEY (queue, state, held_by)
) STRICT, WITHOUT ROWID;

-- What happened in each minute. Kept for two days.
CREATE TABLE queue_minutes (
    minute INTEGER NOT NULL,
    queue  TEXT NOT NULL,
    event  TEXT NOT NULL,     -- in: came to wait; out: ended or was deleted; start
    wait   INTEGER NOT NULL,  -- of starts: wait_buckets.wait; else -1
    n      INTEGER NOT NULL,
    PRIMARY KEY (minute, queue, event, wait)
) STRICT, WITHOUT ROWID;

-- How long is how long: each bucket reaches a quarter further than the one before it, and the last one for ever.
CREATE TABLE wait_buckets (
    wait     INTEGER PRIMARY KEY,
    up_to_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX wait_buckets_up_to ON wait_buckets (up_to_us, wait);
INSERT INTO wait_buckets (wait, up_to_us)
    WITH RECURSIVE bucket (wait, up_to) AS (SELECT 0, 1000.0 UNION ALL SELECT wait + 1, up_to * 1.25 FROM bucket WHERE wait < 119)
    SELECT wait, CAST(up_to AS INTEGER) FROM bucket;

-- Jobs by queue, state and gate, as of now.
CREATE VIEW queue_depths AS
    SELECT queue, state, held_by, sum(n) AS n FROM (
        SELECT queue, state, held_by, n FROM queue_counts
        UNION ALL
        SELECT queue, to_state, COALESCE(to_held_by, ''), n FROM queue_transitions WHERE to_state IS NOT NULL
        UNION ALL
        SELECT queue, from_state, COALESCE(from_held_by, ''), -n FROM queue_transitions WHERE from_state IS NOT NULL
    ) AS noted GROUP BY queue, state, held_by;

-- The clock: what aftercall_now() is in PostgreSQL. Read in a way that older SQLite libraries of other programs know, too.
CREATE VIEW queue_clock AS SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000 AS now;

CREATE TRIGGER jobs_note_new AFTER INSERT ON jobs BEGIN
    INSERT INTO queue_transitions (at, queue, to_state, to_held_by, n)
        VALUES ((SELECT now FROM queue_clock), NEW.queue, NEW.state, NEW.held_by, 1);
END;
CREATE TRIGGER jobs_note_changed AFTER UPDATE OF state, held_by ON jobs
    WHEN NEW.queue = OLD.queue AND (NEW.state <> OLD.state OR NEW.held_by IS NOT OLD.held_by) BEGIN
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, to_state, to_held_by, wait, n)
        VALUES ((SELECT now FROM queue_clock), NEW.queue, OLD.state, OLD.held_by, NEW.state, NEW.held_by,
                CASE WHEN NEW.state = 'running' AND NEW.started_at IS NOT NULL THEN COALESCE(
                    (SELECT wait FROM wait_buckets WHERE up_to_us >= NEW.started_at - NEW.run_at ORDER BY up_to_us LIMIT 1),
                    119) END,
                1);
END;
-- A job that changed its queue went away there and is new here.
CREATE TRIGGER jobs_note_moved AFTER UPDATE OF queue ON jobs WHEN NEW.queue <> OLD.queue BEGIN
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, n)
        VALUES ((SELECT now FROM queue_clock), OLD.queue, OLD.state, OLD.held_by, 1);
    INSERT INTO queue_transitions (at, queue, to_state, to_held_by, n)
        VALUES ((SELECT now FROM queue_clock), NEW.queue, NEW.state, NEW.held_by, 1);
END;
CREATE TRIGGER jobs_note_deleted AFTER DELETE ON jobs BEGIN
    INSERT INTO queue_transitions (at, queue, from_state, from_held_by, n)
        VALUES ((SELECT now FROM queue_clock), OLD.queue, OLD.state, OLD.held_by, 1);
END;

-- What is there already.
INSERT INTO queue_counts (queue, state, held_by, n)
    SELECT queue, state, COALESCE(held_by, ''), count(*) FROM jobs GROUP BY 1, 2, 3;
