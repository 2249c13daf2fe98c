-- What operators do to many jobs or sessions at once, in the background: resumable, with its progress, and discards undone.
CREATE TABLE operations (
    id           uuid PRIMARY KEY,
    verb         text NOT NULL,           -- retry, cancel, discard, delete, reprioritise, move, restore, reprocess
    target       jsonb NOT NULL,          -- JSON: what is done, to which jobs or sessions
    actor        text NOT NULL,
    reason       text,
    state        text NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    matched      bigint NOT NULL,        -- how many matched when it began
    done         bigint NOT NULL DEFAULT 0,
    skipped      jsonb NOT NULL DEFAULT '{}',  -- JSON: how many it left alone, by why
    position     jsonb,                    -- JSON: how far it is
    created_at   timestamptz NOT NULL,        -- what came later is left alone
    finished_at  timestamptz
);
CREATE INDEX operations_created ON operations (created_at);

-- What a discard took away, so that it can be given back.
CREATE TABLE discarded_jobs (
    operation    uuid NOT NULL,
    job_id       uuid NOT NULL,
    state        text NOT NULL,           -- before
    PRIMARY KEY (operation, job_id)
);
