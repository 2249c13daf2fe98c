-- What each process does for the fleet.
ALTER TABLE workers ADD COLUMN role text;  -- run, worker, scheduler, api; null: of a version that knew no roles, and did all
