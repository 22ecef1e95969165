INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('evt_y' || char(10) || 'x: y', 'hostile', 50, 'job.step_changed', 1, '{}');
INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, next_attempt_at) VALUES ('evt_y' || char(10) || 'x: y', 'all', 'hostile', 50, 'pending', 1);
INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, next_attempt_at) SELECT id, 'nobody', job_id, -9223372036854775808, 'pending', 9223372036854775807, -9223372036854775808 FROM events WHERE job_id = 'hostile';
INSERT INTO webhooks (name, failures, held_since, probe_at) VALUES ('nobody', 9223372036854775807, -1, 9223372036854775807);
INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES ('', -1, '');
INSERT INTO upstreams (origin, paused_until) VALUES ('not a url', 9223372036854775807)
