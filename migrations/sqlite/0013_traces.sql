-- Other programs hand on their trace with a job: on a server only, where they enqueue by themselves.
SELECT 1;
