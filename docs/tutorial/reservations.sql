-- What the restaurant holds after the calls of `calls.jsonl`.
CREATE TABLE reservations (id TEXT PRIMARY KEY, guest TEXT, party INTEGER, starts_at TEXT, state TEXT);
INSERT INTO reservations VALUES ('R-1', 'Amélie Laurent', 4, '2026-05-08T20:00:00', 'booked');
INSERT INTO reservations VALUES ('R-3', 'Jules Petit', 2, '2026-05-09T19:00:00', 'booked');
INSERT INTO reservations VALUES ('R-4', 'Nora Klein', 6, '2026-05-10T12:30:00', 'cancelled');
