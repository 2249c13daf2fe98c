-- Other programs hand on their trace with a job: SET LOCAL aftercall.traceparent = '00-…' (W3C Trace Context) in the transaction
-- that calls aftercall_enqueue. A default, and not one more argument: who may call the function stays as it is.
ALTER TABLE jobs ALTER COLUMN trace_context SET DEFAULT nullif(current_setting('aftercall.traceparent', true), '');
