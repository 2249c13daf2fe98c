-- What a source may spend on the LLM in a day is read from the ledger before each call.

ALTER TABLE llm_calls ADD COLUMN bound_micros INTEGER NOT NULL DEFAULT 0;  -- the most that it may cost: counts until it is answered
CREATE INDEX llm_calls_of_day ON llm_calls (source, started_at);
