-- A trace ends its session once: what comes late to a trace whose end signal was read with the session is no second end.
ALTER TABLE seen_traces ADD COLUMN end_used INTEGER NOT NULL DEFAULT 0;  -- 1: its end signal was there when the session was read
