INSERT INTO jobs (id) VALUES (x'ff');
INSERT OR IGNORE INTO jobs (id) VALUES ('..');
INSERT INTO jobs (id, url) VALUES ('elsewhere', 'https://evil.test/jobs/1');
INSERT INTO jobs (id, webhook) VALUES ('nobodys', 'nobody');
INSERT INTO jobs (id, deadline_at) VALUES ('late', 9223372036854775807);
INSERT INTO jobs (id, not_before, deadline_at) VALUES ('never', 9223372036854775806, 9223372036854775807);
INSERT INTO jobs (id, priority) VALUES ('first', 9223372036854775807);
UPDATE jobs SET next_poll_at = -9223372036854775808, quiet_polls = 9223372036854775807, polls = 9223372036854775807 WHERE id = 'hostile';
UPDATE jobs SET resource = 'not json', metadata = '[' WHERE id = 'hostile';
UPDATE jobs SET created_at = 0 WHERE id = 'hostile'
