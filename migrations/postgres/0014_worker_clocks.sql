-- The machine's own clock as a process sent its latest sign of life: beside last_seen_at it says how far the two clocks are apart.
ALTER TABLE workers ADD COLUMN clock_at timestamptz;  -- null: of a version that did not say
