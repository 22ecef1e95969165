//! What an outsider may insert, and what it is delivered otherwise.

use super::bench::Bench;
use super::fixtures::body;
use jobtrackd::store::Intake as _;

/// What stands before `INTO` when rows come in.
const WAYS: [&str; 4] = [
    "INSERT",
    "INSERT OR IGNORE",
    "INSERT OR REPLACE",
    "INSERT OR FAIL",
];

/// Inserts a row that must be refused, however it comes in, with a message that holds `why`; `columns` and `values` are
/// SQL.
pub(super) async fn refused(bench: &mut Bench, columns: &str, values: &str, why: &str) {
    for way in WAYS {
        let script = format!("{way} INTO jobs ({columns}) VALUES ({values})");
        let said = bench.outsider.run(&script).await;
        assert!(
            said.as_ref().is_err_and(|said| said.contains(why)),
            "{script:.300} said {said:?}, not {why:?}"
        );
    }
    assert_eq!(bench.outsider.count("jobs").await, 0, "{values:.300}");
    assert_eq!(bench.outsider.count("job_changes").await, 0);
}

/// SQL for a text of these bytes.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("CAST(x'{hex}' AS TEXT)")
}

pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[tokio::test]
async fn a_bad_id_is_refused_with_the_rule() {
    let mut bench = Bench::fresh().await;
    let mut ids: Vec<String> = [
        "",
        ".",
        "..",
        "....",
        " ",
        "a b",
        "a/b",
        "../token",
        "/",
        "//evil.test",
        "a?b",
        "a#b",
        "%2e%2e",
        "a\\b",
        "a:b",
        "a@b",
        "a,b",
        "ä",
        "61723\n",
        "a\r\nX: y",
        "\u{feff}a",
        "１２",
        "a'b",
        "a*",
        "[a]",
        "a^b",
    ]
    .map(quoted)
    .to_vec();
    ids.push(quoted(&"x".repeat(201)));
    ids.push(quoted(&"ä".repeat(100)));
    ids.push(bytes(b"a\0"));
    ids.push(bytes(b"a\0/../b"));
    ids.push(bytes(b"a\xff"));
    ids.push("NULL".to_owned());
    for id in &ids {
        refused(
            &mut bench,
            "id",
            id,
            "jobs.id must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ - and not only dots",
        )
        .await;
    }
    refused(
        &mut bench,
        "id",
        "x'61'",
        "cannot store BLOB value in TEXT column jobs.id",
    )
    .await;
    refused(&mut bench, "webhook", "'billing'", "jobs.id must be").await;
}

#[tokio::test]
async fn good_ids_are_taken_as_they_are() {
    let mut bench = Bench::fresh().await;
    let longest = "x".repeat(200);
    let good = [
        "61723",
        "a03e4df4-dc05-4cd3-9af0-0f28a13ea614",
        "-",
        "~",
        "_",
        "..a",
        "A.b_c~d-e",
        "0",
        &longest,
    ];
    for id in good {
        let script = format!("INSERT INTO jobs (id) VALUES ('{id}')");
        assert_eq!(bench.outsider.run(&script).await, Ok(1), "{id}");
    }
    for id in good {
        assert_eq!(bench.tracked(id).await.id.as_str(), id);
    }
}

#[tokio::test]
async fn numbers_become_ids_of_text() {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run("INSERT INTO jobs (id) VALUES (61723), (0), (-7)")
        .await
        .unwrap();
    let ids = bench
        .outsider
        .rows("SELECT id, typeof(id) FROM jobs ORDER BY rowid")
        .await;
    assert_eq!(ids, ["61723|text", "0|text", "-7|text"]);
    assert_eq!(bench.tracked("61723").await.id.as_str(), "61723");
}

#[tokio::test]
async fn other_columns_are_held_to_their_rules() {
    let mut bench = Bench::fresh().await;
    let own =
        "a new job sets only id, url, metadata, webhook, priority, deadline_at and not_before";
    for (columns, values) in [
        ("id, state", "'1', 'success'"),
        ("id, state, finished_at", "'1', 'success', 5"),
        ("id, failure", "'1', '{}'"),
        ("id, resource", "'1', '{}'"),
        ("id, polls", "'1', 1"),
        ("id, quiet_polls", "'1', 1"),
        ("id, consecutive_errors", "'1', 1"),
        ("id, last_error", "'1', 'x'"),
        ("id, last_polled_at", "'1', 1"),
        ("id, next_poll_at", "'1', 1"),
        ("id, not_found_since", "'1', 1"),
        ("id, queued", "'1', 1"),
        ("id, finished_at", "'1', 1"),
        ("id, revision", "'1', 1"),
        ("id, created_at", "'1', 4102444800000"),
        ("id, created_at", "'1', 0"),
    ] {
        refused(&mut bench, columns, values, own).await;
    }
    let long = format!("'1', '{}'", "x".repeat(201));
    refused(
        &mut bench,
        "id, webhook",
        &long,
        "jobs.webhook must be the name of a webhook",
    )
    .await;
    for column in ["priority", "deadline_at", "not_before"] {
        let columns = format!("id, {column}");
        let why = format!("cannot store TEXT value in INTEGER column jobs.{column}");
        refused(&mut bench, &columns, "'1', 'soon'", &why).await;
    }
    refused(
        &mut bench,
        "id, priority",
        "'1', NULL",
        "jobs.priority must be an integer",
    )
    .await;
    for column in ["cancel_requested", "poll_requested"] {
        for value in ["2", "-1", "NULL"] {
            let (columns, values) = (format!("id, {column}"), format!("'1', {value}"));
            refused(
                &mut bench,
                &columns,
                &values,
                &format!("jobs.{column} must be 0 or 1"),
            )
            .await;
        }
    }
}

#[tokio::test]
async fn seconds_where_milliseconds_are_wanted_are_refused() {
    for column in ["deadline_at", "not_before"] {
        let mut bench = Bench::fresh().await;
        let why = format!("jobs.{column} must be in Unix milliseconds");
        let columns = format!("id, {column}");
        for value in ["1795359845", "0", "-5", "999999999999"] {
            refused(&mut bench, &columns, &format!("'1', {value}"), &why).await;
        }
        let insert = format!("INSERT INTO jobs ({columns}) VALUES ('{column}', 1000000000000)");
        assert_eq!(bench.outsider.run(&insert).await, Ok(1));
    }
}

#[tokio::test]
async fn an_empty_name_of_a_webhook_is_refused() {
    let mut bench = Bench::fresh().await;
    let why =
        "jobs.webhook must be NULL (all webhooks that subscribe) or the name of one, not empty";
    refused(&mut bench, "id, webhook", "'1', ''", why).await;
}

#[tokio::test]
async fn all_the_enqueuer_s_columns_arrive() {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run(
            "INSERT INTO jobs (id, url, webhook, priority, deadline_at, not_before, cancel_requested, poll_requested)
             VALUES ('1', '/a', 'billing', '-5', 1795359845099, 1795359845007, 1, 1)",
        )
        .await
        .unwrap();
    let job = bench.detail("1").await.summary.row;
    assert_eq!(
        (job.url.as_deref(), job.webhook.as_deref()),
        (Some("/a"), Some("billing"))
    );
    assert_eq!(
        (job.priority, job.cancel_requested, job.poll_requested),
        (-5, true, true)
    );
    assert_eq!(job.deadline_at.map(|at| at.0), Some(1_795_359_845_099));
    assert_eq!(job.not_before.map(|at| at.0), Some(1_795_359_845_007));
    assert!(
        job.created_at
            .since(jobtrackd::core::time::UnixMillis(1_700_000_000_000))
            .as_secs()
            > 0
    );
}

#[tokio::test]
async fn one_bad_row_takes_its_whole_statement_back() {
    let mut bench = Bench::fresh().await;
    let said = bench
        .outsider
        .run("INSERT OR IGNORE INTO jobs (id) VALUES ('1'), ('a/b'), ('2')")
        .await;
    assert!(said.unwrap_err().starts_with("jobs.id must be"));
    assert_eq!(bench.outsider.count("jobs").await, 0);
}

#[tokio::test]
async fn a_second_insert_conflicts_and_or_ignore_makes_it_idempotent() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    let before = bench.outsider.rows("SELECT * FROM jobs").await;
    let said = bench
        .outsider
        .run("INSERT INTO jobs (id) VALUES ('1')")
        .await;
    assert_eq!(said, Err("UNIQUE constraint failed: jobs.id".to_owned()));
    let again = "INSERT OR IGNORE INTO jobs (id, webhook) VALUES ('1', 'other')";
    assert_eq!(bench.outsider.run(again).await, Ok(0));
    assert_eq!(bench.outsider.rows("SELECT * FROM jobs").await, before);
    assert_eq!(bench.outsider.count("job_changes").await, 1);
}

#[tokio::test]
async fn a_tracked_job_is_not_replaced() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "pending")]), &[]).await;
    let before = bench.detail("1").await;
    let said = bench
        .outsider
        .run("INSERT OR REPLACE INTO jobs (id) VALUES ('1')")
        .await;
    assert!(said.unwrap_err().starts_with("this job is tracked already"));
    assert_eq!(bench.detail("1").await, before);
}

#[tokio::test]
async fn a_name_that_is_no_text_does_not_keep_a_job_from_being_followed() {
    let mut bench = Bench::fresh().await;
    let script = format!(
        "INSERT INTO jobs (id, webhook) VALUES ('1', {})",
        bytes(b"b\xff")
    );
    bench.outsider.run(&script).await.unwrap();
    let jobs = bench.store.active_jobs(0, 10).await.unwrap();
    let name = jobs[0].job.as_ref().unwrap().webhook.clone();
    assert_eq!(name.as_deref(), Some("b\u{fffd}"));
}
