-- What an operator asks in an incident, answered without reading everything: what of a queue waits for a time, what of it a
-- gate holds, and what was given up.
CREATE INDEX jobs_later ON jobs (queue, run_at) WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL;
CREATE INDEX jobs_held_of_queue ON jobs (held_by, queue) WHERE held_by IS NOT NULL;
CREATE INDEX jobs_discarded ON jobs (id) WHERE state = 'discarded';
