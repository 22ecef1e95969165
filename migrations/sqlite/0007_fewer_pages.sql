-- A transaction writes whole pages, and the ids of jobs that end together lie far apart: each index that begins with them costs
-- a page for every job. So those that something else can do as well are gone.

-- The invariant stays; what it looks for is in the index of a job's events.
DROP INDEX events_one_end_per_job;
CREATE TRIGGER events_end_a_job_once BEFORE INSERT ON events
WHEN NEW.type IN ('job.completed', 'job.failed')
 AND EXISTS (SELECT 1 FROM events WHERE job_id = NEW.job_id AND type IN ('job.completed', 'job.failed'))
BEGIN
    SELECT RAISE(ABORT, 'a job has one event for its end');
END;

-- A job's deliveries are those of its events.
DROP TRIGGER jobs_deleted;
DROP INDEX deliveries_by_job;

-- In the order of the jobs' INSERT, both ways. Made anew without a reference to jobs, which would need an index that begins with
-- the job's id; the rows go with their job.
CREATE TABLE job_users_anew (
    user        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL, -- the job's
    job_id      TEXT    NOT NULL,
    connections TEXT    CHECK (connections IS NULL OR json_valid(connections)),
    PRIMARY KEY (user, created_at, job_id)
) STRICT, WITHOUT ROWID;

INSERT INTO job_users_anew SELECT * FROM job_users;
DROP TABLE job_users;
ALTER TABLE job_users_anew RENAME TO job_users;
CREATE INDEX job_users_by_job ON job_users (created_at, job_id);

CREATE TRIGGER jobs_deleted BEFORE DELETE ON jobs
BEGIN
    SELECT RAISE(ABORT, 'only a job that has ended and whose events are delivered or exhausted may be deleted; cancel it with cancel_requested = 1')
    WHERE OLD.state NOT IN ('success', 'failed')
       OR EXISTS (SELECT 1 FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
                  WHERE e.job_id = OLD.id AND d.state IN ('pending', 'disabled'));
    DELETE FROM attempts WHERE event_id IN (SELECT id FROM events WHERE job_id = OLD.id);
    DELETE FROM deliveries WHERE event_id IN (SELECT id FROM events WHERE job_id = OLD.id);
    DELETE FROM events WHERE job_id = OLD.id;
    DELETE FROM transitions WHERE job_id = OLD.id;
    DELETE FROM steps WHERE job_id = OLD.id;
    DELETE FROM job_users WHERE created_at = OLD.created_at AND job_id = OLD.id;
END;
