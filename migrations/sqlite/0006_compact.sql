-- Steps and transitions lie in the order of their keys, once: before, each row had its key in an index again, a tenth of what a
-- finished job took.

DROP VIEW timeline;
DROP TRIGGER jobs_deleted;
DROP TRIGGER jobs_refuse_replace;

CREATE TABLE steps_anew (
    job_id                 TEXT    NOT NULL REFERENCES jobs (id),
    title                  TEXT    NOT NULL,
    occurrence             INTEGER NOT NULL CHECK (occurrence >= 0),
    position               INTEGER NOT NULL CHECK (position >= 0),
    status                 TEXT    NOT NULL,
    result                 TEXT,
    first_seen_at          INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL CHECK (updated_at >= 0),
    delayed                INTEGER NOT NULL DEFAULT 0 CHECK (delayed IN (0, 1)),
    challenge              TEXT    CHECK (challenge IS NULL OR json_valid(challenge)),
    challenge_expires_at   INTEGER,
    challenge_response_url TEXT,
    class                  TEXT    CHECK (class IN
        ('pending', 'running', 'waiting', 'queued', 'done', 'skipped', 'failed', 'unknown', 'missing')),
    error                  TEXT    CHECK (error IS NULL OR json_valid(error)),
    challenge_expiry_ms    INTEGER CHECK (challenge_expiry_ms > 0),
    PRIMARY KEY (job_id, title, occurrence)
) STRICT, WITHOUT ROWID;

INSERT INTO steps_anew SELECT * FROM steps ORDER BY job_id, title, occurrence;
DROP TABLE steps;
ALTER TABLE steps_anew RENAME TO steps;

CREATE TABLE transitions_anew (
    job_id         TEXT    NOT NULL REFERENCES jobs (id),
    seq            INTEGER NOT NULL CHECK (seq >= 1),
    position       INTEGER NOT NULL CHECK (position >= 0),
    title          TEXT    NOT NULL,
    occurrence     INTEGER NOT NULL CHECK (occurrence >= 0),
    from_status    TEXT,
    to_status      TEXT    NOT NULL,
    result         TEXT,
    observed_at    INTEGER NOT NULL,
    remote_updated TEXT,
    class          TEXT    CHECK (class IN
        ('pending', 'running', 'waiting', 'queued', 'done', 'skipped', 'failed', 'unknown', 'missing')),
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO transitions_anew SELECT * FROM transitions ORDER BY job_id, seq;
DROP TABLE transitions;
ALTER TABLE transitions_anew RENAME TO transitions;

CREATE TRIGGER transitions_are_append_only BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions are append-only');
END;

CREATE TRIGGER jobs_refuse_replace AFTER INSERT ON jobs
WHEN EXISTS (SELECT 1 FROM events WHERE job_id = NEW.id) OR EXISTS (SELECT 1 FROM transitions WHERE job_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'this job is tracked already; use INSERT OR IGNORE, and poll_requested = 1 to poll it now');
END;

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
