-- For each row that a CHECK compares with a list of more than two values, SQLite fills a table of its own with them: an eighth of
-- what recording a finished job took. Alternatives are compared one after the other. Since they mean the same, no row is touched:
-- the texts are changed in place, as https://www.sqlite.org/lang_altertable.html (7, the simpler procedure) describes it.

-- Programs that have the file open see by this that the schema has changed.
CREATE TABLE schema_changed (at INTEGER);
DROP TABLE schema_changed;

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''pending'', ''in-progress'', ''success'', ''failed'')',
    'state = ''pending'' OR state = ''in-progress'' OR state = ''success'' OR state = ''failed''')
WHERE type = 'table' AND name = 'jobs';

UPDATE sqlite_schema SET sql = replace(sql,
    'class IN
        (''pending'', ''running'', ''waiting'', ''queued'', ''done'', ''skipped'', ''failed'', ''unknown'', ''missing'')',
    'class = ''pending'' OR class = ''running'' OR class = ''done'' OR class = ''failed'' OR class = ''waiting''
        OR class = ''queued'' OR class = ''skipped'' OR class = ''unknown'' OR class = ''missing''')
WHERE type = 'table' AND name IN ('steps', 'transitions');

UPDATE sqlite_schema SET sql = replace(sql,
    'type IN
        (''job.completed'', ''job.failed'', ''job.action_required'', ''job.delayed'', ''job.step_changed'')',
    'type = ''job.step_changed'' OR type = ''job.completed'' OR type = ''job.failed'' OR type = ''job.action_required''
        OR type = ''job.delayed''')
WHERE type = 'table' AND name = 'events';

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''pending'', ''delivered'', ''exhausted'', ''disabled'')',
    'state = ''pending'' OR state = ''delivered'' OR state = ''exhausted'' OR state = ''disabled''')
WHERE type = 'table' AND name = 'deliveries';

UPDATE sqlite_schema SET sql = replace(replace(sql,
    '"trigger" IN (''schedule'', ''probe'', ''manual'', ''test'')',
    '"trigger" = ''schedule'' OR "trigger" = ''probe'' OR "trigger" = ''manual'' OR "trigger" = ''test'''),
    'answer_cut IN (''too_large'', ''too_slow'', ''broken'')',
    'answer_cut = ''too_large'' OR answer_cut = ''too_slow'' OR answer_cut = ''broken''')
WHERE type = 'table' AND name = 'attempts';

PRAGMA writable_schema = RESET;
