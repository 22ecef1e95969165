-- The whole schema of jobtrackd. All times are Unix milliseconds (UTC), all JSON is TEXT.
-- Outsiders insert into jobs; the triggers below refuse what can never be tracked, also under INSERT OR IGNORE,
-- which would skip a row that only a CHECK refuses without a word.

PRAGMA application_id = 1246708308; -- 0x4a4f4254, "JOBT"

CREATE TABLE jobs (
    -- the enqueuer's columns
    id                 TEXT    NOT NULL PRIMARY KEY,
    url                TEXT,
    metadata           TEXT,
    webhook            TEXT,
    priority           INTEGER NOT NULL DEFAULT 0,
    deadline_at        INTEGER,
    not_before         INTEGER,
    cancel_requested   INTEGER NOT NULL DEFAULT 0,
    poll_requested     INTEGER NOT NULL DEFAULT 0,
    -- the daemon's columns
    state              TEXT    NOT NULL DEFAULT 'pending',
    failure            TEXT,
    resource           TEXT,
    polls              INTEGER NOT NULL DEFAULT 0,
    quiet_polls        INTEGER NOT NULL DEFAULT 0,
    consecutive_errors INTEGER NOT NULL DEFAULT 0,
    last_error         TEXT,
    last_polled_at     INTEGER,
    next_poll_at       INTEGER,
    not_found_since    INTEGER,
    queued             INTEGER NOT NULL DEFAULT 0,
    created_at         INTEGER NOT NULL DEFAULT (CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)),
    finished_at        INTEGER,
    revision           INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT "a job is pending, in-progress, success or failed"
        CHECK (state IN ('pending', 'in-progress', 'success', 'failed')),
    CONSTRAINT "cancel_requested is 0 or 1" CHECK (cancel_requested IN (0, 1)),
    CONSTRAINT "poll_requested is 0 or 1" CHECK (poll_requested IN (0, 1)),
    CONSTRAINT "queued is 0 or 1" CHECK (queued IN (0, 1)),
    CONSTRAINT "a job has finished_at when, and only when, it has ended"
        CHECK ((state IN ('success', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT "a job has a failure when, and only when, it failed"
        CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT "an ended job has no next poll"
        CHECK (state NOT IN ('success', 'failed') OR next_poll_at IS NULL),
    CONSTRAINT "counters are not negative"
        CHECK (polls >= 0 AND quiet_polls >= 0 AND consecutive_errors >= 0 AND revision >= 0)
) STRICT;

CREATE INDEX jobs_active ON jobs (finished_at) WHERE finished_at IS NULL; -- by row number, since all entries are NULL
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (state, created_at, id);
CREATE INDEX jobs_created ON jobs (created_at, id);

-- What the daemon has to look at again, in commit order. AUTOINCREMENT: a number never comes twice.
CREATE TABLE job_changes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL
) STRICT;

CREATE TRIGGER jobs_refuse_bad_id BEFORE INSERT ON jobs
WHEN NEW.id IS NULL
  OR length(CAST(NEW.id AS BLOB)) NOT BETWEEN 1 AND 200
  OR length(CAST(NEW.id AS BLOB)) <> length(NEW.id)
  OR NEW.id GLOB '*[^-A-Za-z0-9._~]*'
  OR NEW.id NOT GLOB '*[^.]*'
BEGIN
    SELECT RAISE(ABORT, 'jobs.id must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ - and not only dots');
END;

CREATE TRIGGER jobs_refuse_bad_metadata BEFORE INSERT ON jobs
WHEN NEW.metadata IS NOT NULL AND (
     length(CAST(NEW.metadata AS BLOB)) > 16384
  OR CASE WHEN json_valid(NEW.metadata) AND instr(CAST(NEW.metadata AS BLOB), x'00') = 0
          THEN json_type(NEW.metadata) <> 'object' ELSE 1 END)
BEGIN
    SELECT RAISE(ABORT, 'jobs.metadata must be a JSON object of at most 16 KiB (16384 bytes)');
END;

-- The origin depends on the configuration and is checked by the daemon; everything else is checked here.
-- "path" is what stands before the query, with %2e and %2E written as dots and a slash at its end.
CREATE TRIGGER jobs_refuse_bad_url BEFORE INSERT ON jobs
WHEN NEW.url IS NOT NULL AND (
     length(CAST(NEW.url AS BLOB)) > 2048
  OR length(CAST(NEW.url AS BLOB)) <> length(NEW.url)
  OR NEW.url GLOB '*[^!-~]*'
  OR instr(NEW.url, '#') > 0
  OR instr(NEW.url, '\') > 0
  OR NOT (
         (NEW.url GLOB '/*' AND NEW.url NOT GLOB '//*')
      OR lower(substr(NEW.url, 1, 8)) = 'https://'
      OR lower(substr(NEW.url, 1, 7)) = 'http://')
  OR (NEW.url NOT GLOB '/*' AND (
         instr(substr(NEW.url, instr(NEW.url, '://') + 3,
               instr(replace(substr(NEW.url, instr(NEW.url, '://') + 3), '?', '/') || '/', '/') - 1), '@') > 0
      OR instr(replace(substr(NEW.url, instr(NEW.url, '://') + 3), '?', '/') || '/', '/') = 1))
  OR instr(replace(replace(substr(NEW.url, 1, instr(NEW.url || '?', '?') - 1), '%2e', '.'), '%2E', '.') || '/', '/./') > 0
  OR instr(replace(replace(substr(NEW.url, 1, instr(NEW.url || '?', '?') - 1), '%2e', '.'), '%2E', '.') || '/', '/../') > 0)
BEGIN
    SELECT RAISE(ABORT, 'jobs.url must be a path that starts with one / or an http(s) URL, of at most 2048 visible ASCII characters, without dot segments, fragment, user or backslash');
END;

CREATE TRIGGER jobs_refuse_bad_webhook BEFORE INSERT ON jobs
WHEN length(CAST(NEW.webhook AS BLOB)) > 200
BEGIN
    SELECT RAISE(ABORT, 'jobs.webhook must be the name of a webhook, of at most 200 bytes');
END;

CREATE TRIGGER jobs_refuse_bad_numbers BEFORE INSERT ON jobs
WHEN NEW.priority IS NULL OR coalesce(NEW.cancel_requested, 2) NOT IN (0, 1) OR coalesce(NEW.poll_requested, 2) NOT IN (0, 1)
BEGIN
    SELECT RAISE(ABORT, 'jobs.priority must be an integer') WHERE NEW.priority IS NULL;
    SELECT RAISE(ABORT, 'jobs.cancel_requested must be 0 or 1') WHERE coalesce(NEW.cancel_requested, 2) NOT IN (0, 1);
    SELECT RAISE(ABORT, 'jobs.poll_requested must be 0 or 1');
END;

CREATE TRIGGER jobs_refuse_daemon_columns BEFORE INSERT ON jobs
WHEN NEW.state <> 'pending' OR NEW.failure IS NOT NULL OR NEW.resource IS NOT NULL OR NEW.polls <> 0
  OR NEW.quiet_polls <> 0 OR NEW.consecutive_errors <> 0 OR NEW.last_error IS NOT NULL
  OR NEW.last_polled_at IS NOT NULL OR NEW.next_poll_at IS NOT NULL OR NEW.not_found_since IS NOT NULL
  OR NEW.queued <> 0 OR NEW.finished_at IS NOT NULL OR NEW.revision <> 0
  OR abs(NEW.created_at - CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)) > 60000
BEGIN
    SELECT RAISE(ABORT, 'a new job sets only id, url, metadata, webhook, priority, deadline_at and not_before; the other columns are the daemon''s');
END;

-- INSERT OR REPLACE would throw away what is known of a job and tell its events anew.
CREATE TRIGGER jobs_refuse_replace AFTER INSERT ON jobs
WHEN EXISTS (SELECT 1 FROM events WHERE job_id = NEW.id) OR EXISTS (SELECT 1 FROM transitions WHERE job_id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'this job is tracked already; use INSERT OR IGNORE, and poll_requested = 1 to poll it now');
END;

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs
BEGIN
    INSERT INTO job_changes (job_id) VALUES (NEW.id);
END;

CREATE TRIGGER jobs_requested AFTER UPDATE OF cancel_requested, poll_requested ON jobs
WHEN NEW.cancel_requested > OLD.cancel_requested OR NEW.poll_requested = 1
BEGIN
    INSERT INTO job_changes (job_id) VALUES (NEW.id);
END;

CREATE TRIGGER jobs_retimed AFTER UPDATE OF url, webhook, priority, deadline_at, not_before ON jobs
WHEN NEW.url IS NOT OLD.url OR NEW.webhook IS NOT OLD.webhook OR NEW.priority <> OLD.priority
  OR NEW.deadline_at IS NOT OLD.deadline_at OR NEW.not_before IS NOT OLD.not_before
BEGIN
    INSERT INTO job_changes (job_id) VALUES (NEW.id);
END;

CREATE TRIGGER jobs_keep_their_id BEFORE UPDATE OF id ON jobs WHEN NEW.id IS NOT OLD.id
BEGIN
    SELECT RAISE(ABORT, 'the id of a job never changes');
END;

CREATE TRIGGER jobs_keep_their_metadata BEFORE UPDATE OF metadata ON jobs WHEN NEW.metadata IS NOT OLD.metadata
BEGIN
    SELECT RAISE(ABORT, 'the metadata of a job never changes');
END;

CREATE TRIGGER jobs_stay_ended
BEFORE UPDATE OF state, failure, resource, finished_at, next_poll_at, revision ON jobs
WHEN OLD.state IN ('success', 'failed') AND (
     NEW.state <> OLD.state OR NEW.failure IS NOT OLD.failure OR NEW.resource IS NOT OLD.resource
  OR NEW.finished_at IS NOT OLD.finished_at OR NEW.next_poll_at IS NOT NULL OR NEW.revision <> OLD.revision)
BEGIN
    SELECT RAISE(ABORT, 'this job has ended; an end is final');
END;

CREATE TABLE steps (
    job_id        TEXT    NOT NULL REFERENCES jobs (id),
    title         TEXT    NOT NULL,
    occurrence    INTEGER NOT NULL CHECK (occurrence >= 0),
    position      INTEGER NOT NULL CHECK (position >= 0),
    status        TEXT    NOT NULL,
    result        TEXT,
    first_seen_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL CHECK (updated_at >= 0),
    delayed       INTEGER NOT NULL DEFAULT 0 CHECK (delayed IN (0, 1)),
    PRIMARY KEY (job_id, title, occurrence)
) STRICT;

CREATE TABLE transitions (
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
    PRIMARY KEY (job_id, seq)
) STRICT;

CREATE TABLE events (
    cursor     INTEGER PRIMARY KEY AUTOINCREMENT, -- commit order
    id         TEXT    NOT NULL UNIQUE,
    job_id     TEXT    NOT NULL REFERENCES jobs (id),
    sequence   INTEGER NOT NULL CHECK (sequence >= 1),
    type       TEXT    NOT NULL CHECK (type IN
        ('job.completed', 'job.failed', 'job.action_required', 'job.delayed', 'job.step_changed')),
    created_at INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    UNIQUE (job_id, sequence)
) STRICT;

CREATE UNIQUE INDEX events_one_end_per_job ON events (job_id) WHERE type IN ('job.completed', 'job.failed');

-- The current state of telling one event to one webhook. Of the pending deliveries of one job and webhook only the
-- first, the head of the lane, has next_attempt_at; the others wait for it.
CREATE TABLE deliveries (
    event_id        TEXT    NOT NULL REFERENCES events (id),
    webhook         TEXT    NOT NULL,
    job_id          TEXT    NOT NULL,
    sequence        INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'exhausted', 'disabled')),
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    retries_used    INTEGER NOT NULL DEFAULT 0 CHECK (retries_used BETWEEN 0 AND attempts),
    next_attempt_at INTEGER,
    delivered_at    INTEGER,
    last_status     INTEGER,
    last_error      TEXT,
    PRIMARY KEY (event_id, webhook),
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CHECK (state = 'pending' OR next_attempt_at IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (webhook, next_attempt_at)
    WHERE state = 'pending' AND next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_lanes ON deliveries (webhook, job_id, sequence) WHERE state = 'pending';
CREATE INDEX deliveries_by_job ON deliveries (job_id, sequence);

CREATE TABLE attempts (
    event_id    TEXT    NOT NULL,
    webhook     TEXT    NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 1),
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    status      INTEGER CHECK (status BETWEEN 100 AND 999),
    error       TEXT,
    "trigger"   TEXT    NOT NULL CHECK ("trigger" IN ('schedule', 'probe', 'manual', 'test')),
    PRIMARY KEY (event_id, webhook, number),
    FOREIGN KEY (event_id, webhook) REFERENCES deliveries (event_id, webhook),
    CHECK (status IS NOT NULL OR error IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- What is remembered of an API over a restart: until when it asked to be left alone.
CREATE TABLE upstreams (
    origin       TEXT    NOT NULL PRIMARY KEY,
    paused_until INTEGER NOT NULL
) STRICT;

-- What is remembered of a webhook over a restart. No row: nothing special.
CREATE TABLE webhooks (
    name            TEXT NOT NULL PRIMARY KEY,
    disabled_at     INTEGER,
    disabled_reason TEXT,
    paused_until    INTEGER,
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
) STRICT;

CREATE TRIGGER transitions_are_append_only BEFORE UPDATE ON transitions
BEGIN
    SELECT RAISE(ABORT, 'transitions are append-only');
END;

CREATE TRIGGER events_are_append_only BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

CREATE TRIGGER attempts_are_append_only BEFORE UPDATE ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts are append-only');
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
