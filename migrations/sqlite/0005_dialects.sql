-- What the reader of an answer decided, so that nobody reads the API's text again.

-- What a step's status means, whatever the API's word for it: pending, running, waiting (for the user), queued (by the API),
-- done, skipped, failed, unknown, missing. NULL in rows of earlier versions that nobody has to know more of than the word.
ALTER TABLE steps ADD COLUMN class TEXT
    CHECK (class IN ('pending', 'running', 'waiting', 'queued', 'done', 'skipped', 'failed', 'unknown', 'missing'));
-- The API's error of a step that is queued, as {code, title, detail}.
ALTER TABLE steps ADD COLUMN error TEXT CHECK (error IS NULL OR json_valid(error));
-- How long the user has for the challenge, as the API wrote it.
ALTER TABLE steps ADD COLUMN challenge_expiry_ms INTEGER CHECK (challenge_expiry_ms > 0);
-- What to_status means.
ALTER TABLE transitions ADD COLUMN class TEXT
    CHECK (class IN ('pending', 'running', 'waiting', 'queued', 'done', 'skipped', 'failed', 'unknown', 'missing'));

UPDATE steps SET class = 'waiting'
WHERE status = 'in-progress' AND challenge IS NOT NULL
  AND job_id IN (SELECT id FROM jobs WHERE finished_at IS NULL);

UPDATE steps SET class = 'queued', error = found.error
FROM (
    SELECT s.job_id, s.title, s.occurrence,
           json_object('code', item.value -> '$.code', 'title', item.value -> '$.title',
                       'detail', coalesce(item.value -> '$.detail', item.value -> '$.details')) AS error,
           item.value ->> '$.code' AS code, min(item.key)
    FROM jobs AS j CROSS JOIN steps AS s ON s.job_id = j.id
    JOIN json_each(CASE json_type(s.result) WHEN 'array' THEN s.result ELSE json_array(json(s.result)) END) AS item
      ON item.type = 'object' AND item.value ->> '$.code' IS NOT NULL
    WHERE j.finished_at IS NULL AND s.status = 'pending' AND json_valid(s.result)
    GROUP BY s.job_id, s.title, s.occurrence
) AS found
WHERE found.code = 'temporary-unavailable-queued'
  AND steps.job_id = found.job_id AND steps.title = found.title AND steps.occurrence = found.occurrence;

-- The API's own time of the last change of the job, verbatim, and the user whose token answers go with.
ALTER TABLE jobs ADD COLUMN remote_updated TEXT;
ALTER TABLE jobs ADD COLUMN remote_user TEXT;
UPDATE jobs SET
    remote_updated = coalesce(resource ->> '$.updated', resource ->> '$.updatedDate'),
    remote_user = (SELECT user FROM job_users WHERE job_id = jobs.id GROUP BY job_id HAVING count(*) = 1)
WHERE finished_at IS NULL AND json_valid(resource);

-- The user's connections that the job's links lead to, as a JSON list.
ALTER TABLE job_users ADD COLUMN connections TEXT CHECK (connections IS NULL OR json_valid(connections));
UPDATE job_users SET connections = (
    SELECT json_group_array(DISTINCT substr(rest, 1, instr(rest || '/', '/') - 1))
    FROM (
        SELECT substr(path, instr(path, '/users/' || job_users.user || '/connections/')
                          + length('/users/' || job_users.user || '/connections/')) AS rest
        FROM (
            SELECT '/' || substr(link.value, 1, min(instr(link.value || '?', '?'), instr(link.value || '#', '#')) - 1) AS path
            FROM jobs AS j, json_tree(CASE WHEN json_valid(j.resource) THEN j.resource ELSE '{}' END) AS link
            WHERE j.id = job_users.job_id AND link.type = 'text'
              AND (link.fullkey = '$.links.source' OR (link.key = 'url' AND link.path GLOB '$.steps*.result*'))
        )
        WHERE instr(path, '/users/' || job_users.user || '/connections/') > 0
    )
);

DROP TRIGGER jobs_begin_unpruned;
CREATE TRIGGER jobs_begin_unpruned BEFORE INSERT ON jobs
WHEN NEW.pruned IS NOT 0 OR NEW.limited IS NOT 0 OR NEW.event_bytes IS NOT 0 OR NEW.remote_updated IS NOT NULL
  OR NEW.remote_user IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a new job sets only id, url, metadata, webhook, priority, deadline_at and not_before; the other columns are the daemon''s');
END;
