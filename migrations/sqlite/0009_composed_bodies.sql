-- The body of a job.step_changed repeats its transition, and most are sent to no webhook. Those have no body any more: what it would
-- say is in the event's row, its transition and the job's metadata, which never change, and it is composed when somebody reads it.

ALTER TABLE events ADD COLUMN job_state TEXT; -- after what the event reports; NULL for events of earlier versions

-- No row is touched: https://www.sqlite.org/lang_altertable.html (7, the simpler procedure). Programs that have the file open see
-- by the statement above that the schema has changed.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql,
    'body       TEXT    NOT NULL',
    'body       TEXT    CHECK (body IS NOT NULL OR (type = ''job.step_changed'' AND transition_seq IS NOT NULL AND job_state IS NOT NULL))')
WHERE type = 'table' AND name = 'events';
PRAGMA writable_schema = RESET;
