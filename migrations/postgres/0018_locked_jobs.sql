-- Jobs that an operation came by while other transactions had their rows: it looks at them again.
ALTER TABLE operations ADD COLUMN locked jsonb;  -- JSON: which, and how often it looked in vain
