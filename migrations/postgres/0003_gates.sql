-- Jobs behind an upstream that is down are held by its gate: a held job is 'scheduled', and nobody looks at it before the
-- gate lets it go.

ALTER TABLE jobs ADD COLUMN gate text;                         -- the gate of the upstream that it needs next
ALTER TABLE jobs ADD COLUMN held_by text;                      -- the shut gate that holds it now: gates.key
ALTER TABLE jobs ADD COLUMN outages bigint NOT NULL DEFAULT 0; -- its own calls that found an upstream down, in a row

-- Promotion of jobs whose time has come: those that a gate holds have none.
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL;
-- Whom a gate lets go first, and who tries it: the one that failed least.
CREATE INDEX jobs_held ON jobs (held_by, outages, priority DESC, run_at, id) WHERE held_by IS NOT NULL;

ALTER TABLE gates ADD COLUMN probe_job uuid;                          -- half_open: the one job that may call
ALTER TABLE gates ADD COLUMN opened_at timestamptz;                   -- when it opened last: older failures say nothing
ALTER TABLE gates ADD COLUMN releasing boolean NOT NULL DEFAULT false; -- open, and still holds jobs to be let go
-- Nothing ever wrote it: the probe is a job, and keeps being it when another worker takes it up.
ALTER TABLE gates DROP COLUMN probe_lease;
