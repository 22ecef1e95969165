//! What the database shows: locks, schemas, damage, rows in trouble, and who follows them.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use super::{Patient, run_sql};

#[tokio::test]
async fn a_lock_of_another_program_is_named_and_keeps_no_daemon_from_starting() {
    let patient = Patient::migrated();
    let mut writer = patient.outsider().await;
    run_sql(&mut writer, "BEGIN IMMEDIATE").await;
    patient
        .examined()
        .has(
            "database.lock",
            "problem",
            "keeps the write lock",
            "fuser -v",
        )
        .ends(1);
    run_sql(
        &mut writer,
        "ROLLBACK; PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE jobs SET priority = 0; COMMIT",
    )
    .await;
    let said = patient.run(&["check", "--offline"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(
        said.out.contains("! warning: ") && said.out.contains("locked by another program"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn check_passes_what_the_daemon_puts_right_at_its_start_and_changes_nothing() {
    let patient = Patient::new();
    let said = patient.run(&["check", "--offline", "--json"]).done();
    assert!(said.out.contains("is created at the first start"));
    fs::write(patient.shell.path(), "").unwrap();
    let said = patient.run(&["check", "--offline"]).done();
    assert!(said.out.contains("made at the next start"), "{}", said.out);
    assert_eq!(fs::metadata(patient.shell.path()).unwrap().len(), 0);
    assert!(!patient.shell.folder.path().join("jobs.db.lock").exists());

    patient.shell.run(&["migrate"]).done();
    let _lock = patient.locked();
    for line in patient.run(&["check", "--offline", "--json"]).done().json() {
        let keys: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["detail", "ok", "what"], "{line}");
    }
}

#[tokio::test]
async fn a_schema_from_the_future_is_a_problem() {
    let patient = Patient::migrated();
    patient
        .sql("UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await;
    patient
        .examined()
        .has(
            "database.schema",
            "problem",
            "schema 9999",
            "install the newer",
        )
        .ends(1);
    assert_eq!(patient.run(&["check", "--offline"]).code, 1);
}

#[tokio::test]
async fn damage_inside_the_file_is_found() {
    let patient = Patient::migrated();
    patient
        .sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO jobs (id) SELECT 'job-' || i FROM n")
        .await;
    let mut file = fs::File::options()
        .write(true)
        .open(patient.shell.path())
        .unwrap();
    let last = fs::metadata(patient.shell.path()).unwrap().len() - 4096;
    file.seek(SeekFrom::Start(last)).unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
    drop(file);
    patient
        .examined()
        .has(
            "database.integrity",
            "problem",
            "damaged",
            "restore a backup",
        )
        .ends(1);
}

#[tokio::test]
async fn a_log_that_is_never_cut_back_is_a_warning() {
    let patient = Patient::migrated();
    let mut log = patient.shell.path().into_os_string();
    log.push("-wal");
    // An empty log of this size, as one is after a checkpoint that could not cut it.
    fs::File::create(log).unwrap().set_len(65 << 20).unwrap();
    patient
        .examined()
        .has("database.log", "warning", "65 MiB", "fuser -v");
}

#[tokio::test]
async fn jobs_that_nobody_follows_or_that_fail_their_polls_are_counted() {
    let patient = Patient::migrated();
    patient
        .sql("INSERT INTO jobs (id) VALUES ('late'), ('broken'), ('new')")
        .await;
    patient
        .examined()
        .has("jobs.overdue", "ok", "no job waits", "")
        .has("jobs.errors", "ok", "3 jobs in progress", "");
    patient
        .sql("UPDATE jobs SET next_poll_at = (unixepoch() - 7200) * 1000 WHERE id = 'late'")
        .await;
    patient
        .sql("UPDATE jobs SET consecutive_errors = 12, last_error = 'status: HTTP 500' WHERE id = 'broken'")
        .await;
    patient
        .examined()
        .has(
            "jobs.overdue",
            "problem",
            "1 job should have been polled, the first 2h ago",
            "systemctl restart",
        )
        .has(
            "jobs.errors",
            "warning",
            "of broken the last error is status: HTTP 500",
            "jobtrackd show broken",
        )
        .ends(1);
    patient
        .sql("UPDATE jobs SET limited = 1 WHERE id = 'new'")
        .await;
    patient.examined().has(
        "jobs.limited",
        "warning",
        "1 job changed so often",
        "limited = 1",
    );
    let resting = "INSERT INTO upstreams (origin, paused_until) VALUES ('http://127.0.0.1:1', (unixepoch() + 600) * 1000)";
    patient.sql(resting).await;
    patient
        .examined()
        .has("jobs.overdue", "note", "asked to be left alone until", "")
        .has("upstream.pause", "note", "", "run: jobtrackd resume")
        .ends(0);
    let report = patient.visited().await;
    report.has("upstream.pause", "note", "so it was not asked", "");
    assert!(report.all("upstream.connection").is_empty());
}

#[tokio::test]
async fn resume_ends_what_the_api_asked_for_and_says_what_that_was() {
    let patient = Patient::migrated();
    let nothing = patient.run(&["resume"]).done();
    assert_eq!(nothing.out, "· no pause was in force\n");
    let paused = "INSERT INTO upstreams (origin, paused_until) VALUES ('http://127.0.0.1:1', 4102444800000);
        INSERT INTO jobs (id) VALUES ('throttled'), ('forbidden'), ('well'), ('over');
        UPDATE jobs SET consecutive_errors = 3, last_error = 'throttled (429)' WHERE id IN ('throttled', 'over');
        UPDATE jobs SET consecutive_errors = 3, last_error = 'forbidden (401): HTTP 401' WHERE id = 'forbidden';
        UPDATE jobs SET last_error = 'throttled (429)' WHERE id = 'well'";
    patient.sql(paused).await;
    let ended = patient.run(&["resume", "--json"]).done().json();
    assert_eq!(
        ended,
        [serde_json::json!({
            "pauses": [{"origin": "http://127.0.0.1:1", "paused_until": "2100-01-01T00:00:00.000Z"}],
            "jobs": 2,
        })]
    );
    patient
        .sql("UPDATE upstreams SET paused_until = 4102444800000 WHERE origin <> ''")
        .await;
    patient
        .sql("UPDATE jobs SET poll_requested = 0 WHERE id = 'over'")
        .await;
    let ended = patient.run(&["resume"]).done();
    assert_eq!(
        ended.out,
        "✓ the pause that http://127.0.0.1:1 asked for, until 2100-01-01T00:00:00.000Z, is over\n\
         ✓ 1 job that the API throttled: polled at once\n"
    );
    assert!(patient.examined().all("upstream.pause").is_empty());
}

#[tokio::test]
async fn rows_that_name_an_unknown_webhook_fail_check_and_are_a_problem_for_the_doctor() {
    let patient = Patient::migrated();
    patient
        .sql("INSERT INTO jobs (id, webhook) VALUES ('1', 'nobody'), ('2', 'nobody')")
        .await;
    patient
        .examined()
        .has(
            "jobs.webhook",
            "problem",
            "2 running jobs name the webhook \"nobody\"",
            "systemctl reload",
        )
        .ends(1);
    let said = patient.run(&["check", "--offline", "--json"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "error: 1 check failed\n")
    );
    let failed = said.json().into_iter().find(|line| line["ok"] == false);
    assert_eq!(failed.unwrap()["what"], "jobs");
}

#[tokio::test]
async fn undelivered_events_are_counted_and_their_age_is_shown() {
    let mut patient = Patient::migrated();
    patient.webhook("BILLING", "https://billing.example/hook");
    let event = |n: u32, age: u32| {
        format!(
            "INSERT INTO events (id, job_id, sequence, type, created_at, body) \
             VALUES ('e{n}', 'j', {n}, 'job.step_changed', (unixepoch() - {age}) * 1000, '{{}}');"
        )
    };
    let delivery = |n: u32, state: &str, due: &str| {
        format!(
            "INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, next_attempt_at) \
             VALUES ('e{n}', 'billing', 'j', {n}, '{state}', {due});"
        )
    };
    patient.sql("INSERT INTO jobs (id) VALUES ('j')").await;
    patient.examined().has(
        "webhook.backlog",
        "ok",
        "webhook billing: 0 events not delivered yet",
        "",
    );
    patient
        .sql(&(event(1, 7200) + &delivery(1, "exhausted", "NULL")))
        .await;
    patient
        .sql(&(event(2, 3600) + &delivery(2, "pending", "1")))
        .await;
    patient
        .sql(&(event(3, 60) + &delivery(3, "pending", "NULL")))
        .await;
    patient
        .sql("INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES ('billing', 0, 'the webhook answered 410')")
        .await;
    patient
        .examined()
        .has("webhook.backlog", "warning", "2 events not delivered yet, the oldest happened 1h ago", "last_error")
        .has("webhook.given_up", "warning", "1 event of the latest 10,000 given up after the last attempt, the latest happened 2h ago", "")
        .has("webhook.disabled", "problem", "disabled since 1970", "webhook enable billing")
        .ends(1);
    let said = patient.run(&["check", "--offline"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("✗ webhook billing: disabled since"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn jobs_whose_rows_another_hand_has_spoilt_are_shown_and_not_counted_as_failing() {
    for (spoil, says) in [
        (
            "UPDATE jobs SET consecutive_errors = 99999999999 WHERE id = 'j'",
            "jobs.consecutive_errors",
        ),
        (
            "UPDATE jobs SET event_bytes = 9223372036854775807 WHERE id = 'j'",
            "jobs.event_bytes",
        ),
        (
            "UPDATE steps SET position = 9223372036854775807 WHERE job_id = 'j'",
            "steps.position",
        ),
        (
            "UPDATE steps SET occurrence = 9223372036854775807 WHERE job_id = 'j'",
            "steps.occurrence",
        ),
    ] {
        let patient = Patient::migrated();
        let rows = "INSERT INTO jobs (id) VALUES ('j'), ('well');
            INSERT INTO steps (job_id, title, occurrence, position, status, first_seen_at, updated_at)
            VALUES ('j', 'a', 0, 0, 'pending', 1, 1)";
        patient.sql(rows).await;
        let report = patient.examined();
        assert!(report.all("jobs.rows").is_empty());
        patient.sql(spoil).await;
        let report = patient.examined();
        report.has(
            "jobs.rows",
            "problem",
            "a job cannot be followed or recorded",
            "by hand",
        );
        report.has("jobs.rows", "problem", says, "").ends(1);
        report.has("jobs.errors", "ok", "none fails its polls", "");
    }
}

#[tokio::test]
async fn rows_that_another_hand_has_spoilt_are_shown_and_so_is_what_nobody_sends() {
    let mut patient = Patient::migrated();
    patient.webhook("BILLING", "https://billing.example/hook");
    for (n, webhook) in [(1, "billing"), (2, "billing"), (3, "gone")] {
        patient
            .sql(&format!(
                "INSERT INTO jobs (id) VALUES ('{n}');
                 INSERT INTO events (id, job_id, sequence, type, created_at, body)
                     VALUES ('e{n}', '{n}', 1, 'job.step_changed', 1, '{{}}');
                 INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, next_attempt_at)
                     VALUES ('e{n}', '{webhook}', '{n}', 1, 'pending', 1)"
            ))
            .await;
    }
    patient.examined().has(
        "webhook.stranded",
        "problem",
        "webhook gone: 1 event waits for it",
        "jobtrackd webhook move gone NEW",
    );
    patient
        .sql("UPDATE deliveries SET attempts = 4294967296 WHERE event_id = 'e1'")
        .await;
    patient
        .examined()
        .has(
            "webhook.rows",
            "problem",
            "webhook billing: a row cannot be read and is left out: the database is inconsistent: deliveries.attempts",
            "give-up",
        )
        .ends(1);
    patient
        .sql("INSERT INTO webhooks (name, failures) VALUES ('billing', 4294967296)")
        .await;
    patient.examined().has(
        "webhook.rows",
        "problem",
        "2 rows cannot be read and are left out",
        "",
    );
    let listed = patient.run(&["deliveries", "--webhook", "billing", "--json"]);
    assert_eq!((listed.code, listed.json().len()), (0, 1), "{listed:?}");
    assert!(
        listed
            .err
            .contains("a delivery is left out: the database is inconsistent: deliveries.attempts"),
        "{}",
        listed.err
    );
    for reading in [
        &["webhook", "list"][..],
        &["webhook", "show", "billing"],
        &["list"],
        &["events"],
    ] {
        patient.run(reading).done();
    }
    let said = patient.run(&["check", "--offline"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("✗ webhook gone: 1 event waits for it"),
        "{}",
        said.out
    );
}

#[test]
fn the_holder_of_the_lock_is_named_and_the_lock_is_left_alone() {
    let patient = Patient::migrated();
    patient.examined().has(
        "daemon.lock",
        "warning",
        "no daemon follows",
        "systemctl start jobtrackd",
    );
    assert!(!patient.shell.folder.path().join("jobs.db.lock").exists());
    let lock = patient.locked();
    let note = format!("pid {}, since now", std::process::id());
    patient.examined().has("daemon.lock", "ok", &note, "");
    drop(lock);
    // The note is still there, and means nothing.
    patient
        .examined()
        .has("daemon.lock", "warning", "no daemon follows", "");
    drop(patient.locked());
}
