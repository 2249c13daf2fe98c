-- Jobs that an operation came by while other transactions had their rows: it looks at them again.
ALTER TABLE operations ADD COLUMN locked TEXT;  -- JSON: which, and since when it looked in vain
