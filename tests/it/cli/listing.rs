//! What `list` can be asked for.

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::Shell;

fn ids(jobs: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = jobs.iter().map(|job| job["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

impl Shell {
    fn listed(&self, arguments: &[&str]) -> Vec<String> {
        let mut all = vec!["list", "--json"];
        all.extend(arguments);
        let jobs = self.run(&all).done().json();
        ids(&jobs).iter().map(|id| (*id).to_owned()).collect()
    }
}

/// `failed` has an event for the webhook `billing`, `only` is for it alone, `sleepy` has metadata, `x-100` nothing.
async fn four_jobs() -> Shell {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "failed", "x-100"]).done();
    shell
        .billing(&["enqueue", "only", "--webhook", "billing"])
        .done();
    let metadata = r#"{"Customer":"c_9","note":"100% Ärger"}"#;
    shell
        .run(&["enqueue", "sleepy", "--metadata", metadata])
        .done();
    let error = json!({"code": "invalid-credentials", "title": "Cannot login \"twice\""});
    shell
        .seen(
            "failed",
            &json!([{"title": "verify", "status": "failed", "result": error}]),
        )
        .await;
    shell
}

#[tokio::test]
async fn a_list_holds_the_jobs_of_which_everything_that_was_asked_for_is_true() {
    let shell = four_jobs().await;
    let all = ["failed", "only", "sleepy", "x-100"];
    for (asked, expected) in [
        (&["--text", "INVALID-cred"][..], &["failed"][..]),
        (&["--text", "Login \"twice\""], &["failed"]),
        (&["--text", "verify"], &["failed"]),
        (&["--text", "STATUS: 500"], &["failed"]),
        (&["--text", "customer\":\"C_9"], &["sleepy"]),
        (&["--text", "100%"], &["sleepy"]),
        (&["--text", "-100"], &["x-100"]),
        (&["--text", "100"], &["sleepy", "x-100"]),
        (&["--text", "Ärger"], &["sleepy"]),
        (&["--text", "_00"], &[]),
        (&["--webhook", "billing"], &["failed", "only"]),
        (&["--webhook", "Billing"], &[]),
        (&["--webhook", "billing", "--state", "pending"], &["only"]),
        (&["--webhook", "billing", "--text", "invalid"], &["failed"]),
        (&["--text", "0", "--state", "failed"], &["failed"]),
        (&["--since", "1h"], &all),
        (&["--newer-than", "1h", "--state", "failed"], &["failed"]),
        (&["--until", "1h"], &[]),
        (&["--older-than", "1h", "--text", "o"], &[]),
        (&["--since", "2020-01-01T00:00:00Z", "--until", "0s"], &all),
        (&["--since", "2100-01-01T00:00:00Z"], &[]),
    ] {
        assert_eq!(shell.listed(asked), expected, "{asked:?}");
    }
    let nothing = shell.run(&["list", "--state", "failed", "--text", "nowhere"]);
    assert_eq!(nothing.done().out, "no job matches --state and --text\n");
    // Both ends of a time belong to it.
    let one = &shell
        .run(&["list", "--text", "sleepy", "--json"])
        .done()
        .json()[0];
    let at = one["created_at"].as_str().unwrap();
    assert_eq!(
        shell.listed(&["--since", at, "--until", at, "--text", "sleepy"]),
        ["sleepy"]
    );
}

#[tokio::test]
async fn a_text_is_found_in_metadata_however_its_characters_are_written() {
    let shell = Shell::migrated();
    for (id, metadata) in [
        ("plain", r#"{"name":"Müller 😀 a/b","list":[1]}"#),
        ("dumps", r#"{"name":"M\u00fcller \ud83d\ude00"}"#),
        ("upper", r#"{"N\u00C4me":"M\u00FCller \uD83D\uDE00","n":7}"#),
        (
            "php",
            r#"{"name":"a\/b \"twice\"","nested":[{"deep":["Z\u00fcrich"]}]}"#,
        ),
        ("half", r#"{"name":"\ud83d"}"#),
    ] {
        shell.run(&["enqueue", id, "--metadata", metadata]).done();
    }
    for (text, expected) in [
        ("Müller", &["dumps", "plain", "upper"][..]),
        ("mÜller", &[]),
        ("MüLLER 😀", &["dumps", "plain", "upper"]),
        ("Näme", &[]),
        ("nÄme", &["upper"]),
        ("A/B", &["php", "plain"]),
        ("\"twice\"", &["php"]),
        ("zürich", &["php"]),
        (r"\u00fc", &["dumps", "php", "upper"]),
        ("0", &["dumps", "php", "upper"]),
    ] {
        assert_eq!(shell.listed(&["--text", text]), expected, "{text}");
    }
}

#[tokio::test]
async fn a_filtered_list_comes_page_by_page_without_gaps() {
    let shell = Shell::migrated();
    let ids: String = (0..700).map(|n| format!("job-{n}\n")).collect();
    shell.piped(&["enqueue", "-"], ids.as_bytes()).done();
    // 20 with two digits or one, and 200 with three.
    assert_eq!(
        shell.listed(&["--text", "-1", "--limit", "1000"]).len(),
        111
    );
    assert_eq!(shell.listed(&["--text", "5", "--limit", "201"]).len(), 201);
    assert_eq!(
        shell.listed(&["--text", "job", "--limit", "1000"]).len(),
        700
    );
}

#[tokio::test]
async fn a_search_that_stops_says_where_and_how_to_go_on() {
    let shell = Shell::migrated();
    let options = SqliteConnectOptions::new().filename(shell.path());
    let mut outsider = SqliteConnection::connect_with(&options).await.unwrap();
    let insert = "INSERT INTO jobs (id, created_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100001)
        SELECT CASE n WHEN 100001 THEN 'needle' ELSE 'j' || n END,
               CAST(julianday('now') * 86400000 - 210866760000000 AS INTEGER) - (n > 100000) * 5000 FROM n";
    sqlx::raw_sql(AssertSqlSafe(insert))
        .execute(&mut outsider)
        .await
        .unwrap();
    outsider.close().await.unwrap();

    let said = shell.run(&["list", "--text", "needle", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(
        said.err.starts_with("note: no job enqueued before "),
        "{}",
        said.err
    );
    let until = said.err.trim_end().rsplit(' ').next().unwrap();
    let found = shell.run(&["list", "--text", "needle", "--json", "--until", until]);
    // The hundred thousand share a moment with the end of the first search, so that they may come again.
    assert_eq!(found.code, 0);
    assert_eq!(
        shell.listed(&["--text", "needle", "--until", "4s"]),
        ["needle"]
    );
    assert_eq!(shell.listed(&["--limit", "1"]).len(), 1);
}
