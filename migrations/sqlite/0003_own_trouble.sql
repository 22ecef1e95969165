-- One item's trouble is its own: what is remembered of a webhook that fails, of a job that says too much, of challenges;
-- users of jobs; and rules for what outsiders insert.

DROP VIEW timeline;
DROP TRIGGER jobs_deleted;

-- Bytes of all its events' bodies so far, and whether the job has passed one of its bounds, so that only its end is recorded
-- from now on.
ALTER TABLE jobs ADD COLUMN event_bytes INTEGER NOT NULL DEFAULT 0 CHECK (event_bytes >= 0);
ALTER TABLE jobs ADD COLUMN limited INTEGER NOT NULL DEFAULT 0 CHECK (limited IN (0, 1));
UPDATE jobs SET event_bytes = (SELECT coalesce(sum(octet_length(body)), 0) FROM events WHERE job_id = jobs.id)
WHERE finished_at IS NULL;

DROP TRIGGER jobs_begin_unpruned;
CREATE TRIGGER jobs_begin_unpruned BEFORE INSERT ON jobs WHEN NEW.pruned IS NOT 0 OR NEW.limited IS NOT 0 OR NEW.event_bytes IS NOT 0
BEGIN
    SELECT RAISE(ABORT, 'a new job sets only id, url, metadata, webhook, priority, deadline_at and not_before; the other columns are the daemon''s');
END;

-- The challenge that was told of last while the step still shows it: what identifies it, when it expires by its first
-- sight, where the answers go.
ALTER TABLE steps ADD COLUMN challenge TEXT CHECK (challenge IS NULL OR json_valid(challenge));
ALTER TABLE steps ADD COLUMN challenge_expires_at INTEGER;
ALTER TABLE steps ADD COLUMN challenge_response_url TEXT;
UPDATE steps SET
    challenge = json_object(
        'method', mfa.value -> '$.method', 'description', mfa.value -> '$.description', 'input', mfa.value -> '$.input',
        'response', mfa.value -> '$.links.response'),
    challenge_expires_at = CAST(round(unixepoch(mfa.told ->> '$.expires_at', 'subsec') * 1000) AS INTEGER),
    challenge_response_url = mfa.told ->> '$.response_url'
FROM (
    SELECT s.job_id, s.title, s.occurrence, found.value,
           (SELECT e.body -> '$.data.challenge' FROM events AS e
            WHERE e.job_id = s.job_id AND e.type = 'job.action_required' AND e.body ->> '$.data.challenge.step' = s.title
            ORDER BY e.sequence DESC LIMIT 1) AS told
    FROM steps AS s
    JOIN json_each(CASE json_type(s.result) WHEN 'array' THEN s.result ELSE json_array(json(s.result)) END) AS found
      ON found.type = 'object' AND found.value ->> '$.type' = 'mfa'
    WHERE s.status = 'in-progress' AND json_valid(s.result)
    GROUP BY s.job_id, s.title, s.occurrence HAVING found.key = min(found.key)
) AS mfa
WHERE steps.job_id = mfa.job_id AND steps.title = mfa.title AND steps.occurrence = mfa.occurrence;

-- The rests that receivers asked for while this event was tried, together. Below the whole schedule they use up no retry.
ALTER TABLE deliveries ADD COLUMN rested_ms INTEGER NOT NULL DEFAULT 0 CHECK (rested_ms >= 0);

-- Heads of lanes in the order in which a held webhook is probed: those that were never tried first.
CREATE INDEX deliveries_probes ON deliveries (webhook, last_attempt_at, next_attempt_at)
    WHERE state = 'pending' AND next_attempt_at IS NOT NULL;

-- Goes up when an operator ends a pause.
ALTER TABLE upstreams ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0;

-- Of a webhook: rests of no length it asked for in a row; the jobs of the latest failures in a row, as a JSON list; probes
-- that failed in this hold. probe_event is the event of the last one.
ALTER TABLE webhooks ADD COLUMN rests INTEGER NOT NULL DEFAULT 0 CHECK (rests >= 0);
ALTER TABLE webhooks ADD COLUMN failing_jobs TEXT CHECK (failing_jobs IS NULL OR json_valid(failing_jobs));
ALTER TABLE webhooks ADD COLUMN probes INTEGER NOT NULL DEFAULT 0 CHECK (probes >= 0);

-- Whose job it is: each user that its source or one of its results leads to.
CREATE TABLE job_users (
    user       TEXT    NOT NULL,
    created_at INTEGER NOT NULL, -- the job's
    job_id     TEXT    NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (user, created_at, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_users_by_job ON job_users (job_id);

-- A segment of a path behind "users"; a question mark or a hash ends the path.
INSERT OR IGNORE INTO job_users (user, created_at, job_id)
SELECT substr(rest, 1, instr(rest || '/', '/') - 1), created_at, id
FROM (
    SELECT id, created_at, substr(path, instr(path, '/users/') + 7) AS rest
    FROM (
        SELECT j.id, j.created_at,
               '/' || substr(link.value, 1, min(instr(link.value || '?', '?'), instr(link.value || '#', '#')) - 1) AS path
        FROM jobs AS j, json_tree(CASE WHEN json_valid(j.resource) THEN j.resource ELSE '{}' END) AS link
        WHERE link.type = 'text'
          AND (link.fullkey = '$.links.source' OR (link.key = 'url' AND link.path GLOB '$.steps*.result*'))
    )
    WHERE instr(path, '/users/') > 0
)
WHERE length(rest) BETWEEN 1 AND 4096 AND instr(rest || '/', '/') BETWEEN 2 AND 201;

CREATE TRIGGER jobs_deleted BEFORE DELETE ON jobs
BEGIN
    SELECT RAISE(ABORT, 'only a job that has ended and whose events are delivered or exhausted may be deleted; cancel it with cancel_requested = 1')
    WHERE OLD.state NOT IN ('success', 'failed')
       OR EXISTS (SELECT 1 FROM deliveries WHERE job_id = OLD.id AND state IN ('pending', 'disabled'));
    DELETE FROM attempts WHERE event_id IN (SELECT id FROM events WHERE job_id = OLD.id);
    DELETE FROM deliveries WHERE job_id = OLD.id;
    DELETE FROM events WHERE job_id = OLD.id;
    DELETE FROM transitions WHERE job_id = OLD.id;
    DELETE FROM steps WHERE job_id = OLD.id;
    DELETE FROM job_users WHERE job_id = OLD.id;
END;

-- Some libraries read no more than a hundred levels, others fewer, and an event adds its own. A list or an object inside 32
-- others is one too deep; a trigger cannot hold a recursive query, so each level is a join.
CREATE TRIGGER jobs_refuse_deep_metadata BEFORE INSERT ON jobs
WHEN NEW.metadata IS NOT NULL AND EXISTS (
    SELECT 1 FROM
        json_each(CASE WHEN json_valid(NEW.metadata) THEN NEW.metadata END) AS l1
        CROSS JOIN json_each(CASE WHEN l1.type IN ('array', 'object') THEN l1.value END) AS l2
        CROSS JOIN json_each(CASE WHEN l2.type IN ('array', 'object') THEN l2.value END) AS l3
        CROSS JOIN json_each(CASE WHEN l3.type IN ('array', 'object') THEN l3.value END) AS l4
        CROSS JOIN json_each(CASE WHEN l4.type IN ('array', 'object') THEN l4.value END) AS l5
        CROSS JOIN json_each(CASE WHEN l5.type IN ('array', 'object') THEN l5.value END) AS l6
        CROSS JOIN json_each(CASE WHEN l6.type IN ('array', 'object') THEN l6.value END) AS l7
        CROSS JOIN json_each(CASE WHEN l7.type IN ('array', 'object') THEN l7.value END) AS l8
        CROSS JOIN json_each(CASE WHEN l8.type IN ('array', 'object') THEN l8.value END) AS l9
        CROSS JOIN json_each(CASE WHEN l9.type IN ('array', 'object') THEN l9.value END) AS l10
        CROSS JOIN json_each(CASE WHEN l10.type IN ('array', 'object') THEN l10.value END) AS l11
        CROSS JOIN json_each(CASE WHEN l11.type IN ('array', 'object') THEN l11.value END) AS l12
        CROSS JOIN json_each(CASE WHEN l12.type IN ('array', 'object') THEN l12.value END) AS l13
        CROSS JOIN json_each(CASE WHEN l13.type IN ('array', 'object') THEN l13.value END) AS l14
        CROSS JOIN json_each(CASE WHEN l14.type IN ('array', 'object') THEN l14.value END) AS l15
        CROSS JOIN json_each(CASE WHEN l15.type IN ('array', 'object') THEN l15.value END) AS l16
        CROSS JOIN json_each(CASE WHEN l16.type IN ('array', 'object') THEN l16.value END) AS l17
        CROSS JOIN json_each(CASE WHEN l17.type IN ('array', 'object') THEN l17.value END) AS l18
        CROSS JOIN json_each(CASE WHEN l18.type IN ('array', 'object') THEN l18.value END) AS l19
        CROSS JOIN json_each(CASE WHEN l19.type IN ('array', 'object') THEN l19.value END) AS l20
        CROSS JOIN json_each(CASE WHEN l20.type IN ('array', 'object') THEN l20.value END) AS l21
        CROSS JOIN json_each(CASE WHEN l21.type IN ('array', 'object') THEN l21.value END) AS l22
        CROSS JOIN json_each(CASE WHEN l22.type IN ('array', 'object') THEN l22.value END) AS l23
        CROSS JOIN json_each(CASE WHEN l23.type IN ('array', 'object') THEN l23.value END) AS l24
        CROSS JOIN json_each(CASE WHEN l24.type IN ('array', 'object') THEN l24.value END) AS l25
        CROSS JOIN json_each(CASE WHEN l25.type IN ('array', 'object') THEN l25.value END) AS l26
        CROSS JOIN json_each(CASE WHEN l26.type IN ('array', 'object') THEN l26.value END) AS l27
        CROSS JOIN json_each(CASE WHEN l27.type IN ('array', 'object') THEN l27.value END) AS l28
        CROSS JOIN json_each(CASE WHEN l28.type IN ('array', 'object') THEN l28.value END) AS l29
        CROSS JOIN json_each(CASE WHEN l29.type IN ('array', 'object') THEN l29.value END) AS l30
        CROSS JOIN json_each(CASE WHEN l30.type IN ('array', 'object') THEN l30.value END) AS l31
        CROSS JOIN json_each(CASE WHEN l31.type IN ('array', 'object') THEN l31.value END) AS l32
    WHERE l32.type IN ('array', 'object'))
BEGIN
    SELECT RAISE(ABORT, 'jobs.metadata must be nested at most 32 levels deep');
END;

DROP TRIGGER jobs_refuse_bad_webhook;
CREATE TRIGGER jobs_refuse_bad_webhook BEFORE INSERT ON jobs
WHEN length(CAST(NEW.webhook AS BLOB)) NOT BETWEEN 1 AND 200
BEGIN
    SELECT RAISE(ABORT, 'jobs.webhook must be the name of a webhook, of at most 200 bytes')
    WHERE length(CAST(NEW.webhook AS BLOB)) > 200;
    SELECT RAISE(ABORT, 'jobs.webhook must be NULL (all webhooks that subscribe) or the name of one, not empty');
END;

-- Seconds where milliseconds are wanted would be a moment in January 1970: the job would expire at once.
CREATE TRIGGER jobs_refuse_early_times BEFORE INSERT ON jobs
WHEN NEW.deadline_at < 1000000000000 OR NEW.not_before < 1000000000000
BEGIN
    SELECT RAISE(ABORT, 'jobs.deadline_at must be in Unix milliseconds; this is before 2001, as seconds would be')
    WHERE NEW.deadline_at < 1000000000000;
    SELECT RAISE(ABORT, 'jobs.not_before must be in Unix milliseconds; this is before 2001, as seconds would be');
END;

-- For people with a SQL prompt: SELECT * FROM timeline WHERE job_id = '61723';
CREATE VIEW timeline AS
SELECT job_id, strftime('%Y-%m-%dT%H:%M:%S', ms / 1000, 'unixepoch') || printf('.%03dZ', ms % 1000) AS at, kind, what, detail
FROM (
    SELECT job_id, observed_at AS ms, 0 AS rank, seq AS n, 'transition' AS kind,
           title || ': ' || coalesce(from_status || ' → ', '') || to_status AS what,
           result AS detail
    FROM transitions
    UNION ALL
    SELECT job_id, created_at, 1, sequence, 'event', type, id
    FROM events
    UNION ALL
    SELECT e.job_id, a.started_at, 2, a.number, 'attempt',
           e.type || ' → ' || a.webhook || ' #' || a.number || ': ' || coalesce(a.status, 'no answer'),
           coalesce(a.error || ' ', '') || '(' || a.duration_ms || ' ms, ' || a."trigger" || ')'
    FROM attempts AS a JOIN events AS e ON e.id = a.event_id
)
ORDER BY job_id, ms, rank, n;
