-- What became of the sessions of a day, without reading those of all days.
CREATE INDEX sessions_first_activity ON sessions (first_activity_at);
