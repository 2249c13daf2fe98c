-- What operators do to many jobs or sessions at once, in the background: resumable, with its progress, and discards undone.
CREATE TABLE operations (
    id           TEXT PRIMARY KEY,
    verb         TEXT NOT NULL,           -- retry, cancel, discard, delete, reprioritise, move, restore, reprocess
    target       TEXT NOT NULL,          -- JSON: what is done, to which jobs or sessions
    actor        TEXT NOT NULL,
    reason       TEXT,
    state        TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    matched      INTEGER NOT NULL,        -- how many matched when it began
    done         INTEGER NOT NULL DEFAULT 0,
    skipped      TEXT NOT NULL DEFAULT '{}',  -- JSON: how many it left alone, by why
    position     TEXT,                    -- JSON: how far it is
    created_at   INTEGER NOT NULL,        -- what came later is left alone
    finished_at  INTEGER
) STRICT;
CREATE INDEX operations_created ON operations (created_at);

-- What a discard took away, so that it can be given back.
CREATE TABLE discarded_jobs (
    operation    TEXT NOT NULL,
    job_id       TEXT NOT NULL,
    state        TEXT NOT NULL,           -- before
    PRIMARY KEY (operation, job_id)
) STRICT;
