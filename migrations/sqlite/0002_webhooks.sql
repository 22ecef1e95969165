-- What it takes to steer deliveries: the health of webhooks, answers, expiry, fallbacks, replays; and retention.

-- They name a table that is made anew, and stand again at the end.
DROP VIEW timeline;
DROP TRIGGER jobs_deleted;

-- When the last attempt began; why the next one is made; until when the event is worth anything, and when it was given up
-- for that; the webhook in whose place this one is told.
ALTER TABLE deliveries ADD COLUMN last_attempt_at INTEGER;
ALTER TABLE deliveries ADD COLUMN "trigger" TEXT NOT NULL DEFAULT 'schedule' CHECK ("trigger" IN ('schedule', 'manual'));
ALTER TABLE deliveries ADD COLUMN expires_at INTEGER;
ALTER TABLE deliveries ADD COLUMN expired_at INTEGER CHECK (expired_at IS NULL OR state = 'exhausted');
ALTER TABLE deliveries ADD COLUMN fallback_for TEXT;

CREATE INDEX deliveries_expiring ON deliveries (webhook, expires_at)
    WHERE expires_at IS NOT NULL AND state IN ('pending', 'disabled');
CREATE INDEX deliveries_disabled ON deliveries (webhook, job_id, sequence) WHERE state = 'disabled';

CREATE INDEX events_created ON events (created_at);

-- Made anew: an attempt of `jobtrackd webhook test` belongs to no delivery. Ids of such events begin with test_.
CREATE TABLE attempts_anew (
    event_id    TEXT    NOT NULL,
    webhook     TEXT    NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 1),
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    status      INTEGER CHECK (status BETWEEN 100 AND 999),
    error       TEXT,
    "trigger"   TEXT    NOT NULL CHECK ("trigger" IN ('schedule', 'probe', 'manual', 'test')),
    -- the beginning of the answer's body, escaped; and why it is not all of it
    answer      TEXT    CHECK (length(CAST(answer AS BLOB)) <= 16384),
    answer_cut  TEXT    CHECK (answer_cut IN ('too_large', 'too_slow', 'broken')),
    PRIMARY KEY (event_id, webhook, number),
    CHECK (status IS NOT NULL OR error IS NOT NULL),
    CHECK (("trigger" = 'test') = (event_id GLOB 'test_*'))
) STRICT, WITHOUT ROWID;

INSERT INTO attempts_anew (event_id, webhook, number, started_at, duration_ms, status, error, "trigger")
SELECT event_id, webhook, number, started_at, duration_ms, status, error, "trigger" FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_anew RENAME TO attempts;

UPDATE deliveries SET last_attempt_at = (
    SELECT max(started_at) FROM attempts AS a WHERE a.event_id = deliveries.event_id AND a.webhook = deliveries.webhook)
WHERE attempts > 0;

CREATE TRIGGER attempts_are_append_only BEFORE UPDATE ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts are append-only');
END;

CREATE TRIGGER attempts_belong_to_a_delivery BEFORE INSERT ON attempts
WHEN NEW."trigger" <> 'test'
 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = NEW.event_id AND webhook = NEW.webhook)
BEGIN
    SELECT RAISE(ABORT, 'an attempt belongs to a delivery');
END;

-- What is remembered of a webhook over a restart. No row: nothing special.
CREATE TABLE webhooks_anew (
    name            TEXT    NOT NULL PRIMARY KEY,
    disabled_at     INTEGER,
    disabled_reason TEXT,
    paused_until    INTEGER,
    failures        INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0), -- in a row, over all lanes
    held_since      INTEGER,                                         -- nothing but probes is sent
    probe_at        INTEGER,                                         -- no probe earlier
    probe_event     TEXT,                                            -- the event that is sent as a probe
    ramp            INTEGER CHECK (ramp >= 1),                       -- most requests at once while it recovers
    revision        INTEGER NOT NULL DEFAULT 0,                      -- of the five columns above
    generation      INTEGER NOT NULL DEFAULT 0,                      -- one more whenever an operator forgets the health
    asks            INTEGER NOT NULL DEFAULT 0,                      -- one more whenever the daemon is to look again
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CHECK (held_since IS NULL OR ramp IS NULL),
    CHECK (held_since IS NOT NULL OR (probe_at IS NULL AND probe_event IS NULL))
) STRICT;

INSERT INTO webhooks_anew (name, disabled_at, disabled_reason, paused_until)
SELECT name, disabled_at, disabled_reason, paused_until FROM webhooks;
DROP TABLE webhooks;
ALTER TABLE webhooks_anew RENAME TO webhooks;

-- Replays that `jobtrackd replay` has begun; those without finished_at can be gone on with.
CREATE TABLE replays (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    asked       TEXT    NOT NULL CHECK (json_valid(asked)), -- which events of which webhook, times resolved
    started_at  INTEGER NOT NULL,
    reached     INTEGER NOT NULL DEFAULT 0,                 -- events.cursor of the last one that was taken
    deliveries  INTEGER NOT NULL DEFAULT 0,                 -- so many were made pending
    finished_at INTEGER
) STRICT;

-- How much of a finished job retention has deleted: nothing, its attempts, its events too.
ALTER TABLE jobs ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0 CHECK (pruned BETWEEN 0 AND 2);
CREATE INDEX jobs_unpruned ON jobs (pruned, finished_at) WHERE finished_at IS NOT NULL;

CREATE TRIGGER jobs_begin_unpruned BEFORE INSERT ON jobs WHEN NEW.pruned IS NOT 0
BEGIN
    SELECT RAISE(ABORT, 'a new job sets only id, url, metadata, webhook, priority, deadline_at and not_before; the other columns are the daemon''s');
END;

-- A job goes with everything that belongs to it, and only when nothing of it is left to do. One trigger, since nothing
-- says in which order several would run.
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
