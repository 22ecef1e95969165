INSERT INTO transitions (job_id, seq, position, title, occurrence, to_status, observed_at) VALUES ('hostile', 9223372036854775807, 4294967296, '', 4294967296, '', -1);
INSERT INTO steps (job_id, title, occurrence, position, status, result, first_seen_at, updated_at) VALUES ('hostile', 'x', 4294967296, 4294967296, '', '{', 0, 0);
UPDATE steps SET result = 'not json', status = char(0) WHERE job_id = 'hostile';
INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('evt_x', 'hostile', 9223372036854775807, 'job.step_changed', 1, 'not json');
INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('', 'hostile', 77, 'job.failed', 1, '{}')
