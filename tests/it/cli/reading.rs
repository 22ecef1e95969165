//! `list`, `show` and `cancel` on jobs that have been followed for a while.

use jobtrackd::clock::Clock;
use jobtrackd::core::cadence::Progress;
use jobtrackd::core::delivery::WebhookName;
use jobtrackd::core::dialect::Basiq;
use jobtrackd::core::event::{EventType, Subscriptions};
use jobtrackd::core::job::JobId;
use jobtrackd::core::observe::{Evidence, observe};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::{Batch, Commits as _, Jobs as _, Recordable, ScheduleUpdate, Store};
use serde_json::{Value, json};

use super::Shell;

impl Shell {
    /// Records what the API could have answered for a job, now.
    pub(super) async fn seen(&self, id: &str, steps: &Value) {
        let store = Store::open(&self.path(), Clock::system()).await.unwrap();
        let id = JobId::parse(id).unwrap();
        let tracked = store.tracked(&id).await.unwrap().unwrap();
        let body = json!({"type": "job", "id": id, "steps": steps}).to_string();
        let snapshot = Basiq::snapshot(&body, Some(&id)).unwrap();
        let now = Clock::system().now();
        let seen = observe(
            &tracked,
            &Evidence::Snapshot(snapshot),
            now,
            "https://api.example",
        )
        .unwrap();
        let webhooks = Subscriptions::new(vec![(
            WebhookName::new("billing"),
            EventType::DEFAULT.to_vec(),
        )]);
        let events = seen.events.iter();
        let webhooks = events.map(|event| webhooks.webhooks(event.kind, None));
        let batch = Batch {
            observations: vec![Recordable {
                webhooks: webhooks.collect(),
                schedule: schedule(id, seen.created_at, now),
                observation: seen,
            }],
            ..Batch::default()
        };
        store.commit(&batch).await.unwrap();
        store.close().await;
    }
}

fn schedule(job_id: JobId, created_at: UnixMillis, now: UnixMillis) -> ScheduleUpdate {
    ScheduleUpdate {
        job_id,
        created_at,
        progress: Progress {
            polls: 3,
            consecutive_errors: 1,
            last_error: Some("status: 500\u{1b}[2J".to_owned()),
            last_polled_at: Some(now),
            ..Progress::default()
        },
        next_poll_at: Some(UnixMillis(now.0 + 3_600_000)),
    }
}

fn two_steps(second: &str) -> Value {
    json!([
        {"title": "verify-credentials", "status": "success", "result": null},
        {"title": "retrieve-accounts", "status": second, "result": null},
    ])
}

#[tokio::test]
async fn the_list_shows_progress_and_escapes_what_came_from_outside() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "61723", "61724"]).done();
    shell.seen("61723", &two_steps("in-progress")).await;

    let said = shell.run(&["list"]).done();
    assert!(
        said.out.contains("◐ in-progress  1/2 retrieve-acc"),
        "{}",
        said.out
    );
    assert!(said.out.contains("in 59m"), "{}", said.out);
    assert!(said.out.contains(r"status: 500\u{1b}[2J"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "{}", said.out);

    let pending = shell
        .run(&["list", "--state", "pending", "--json"])
        .done()
        .json();
    let ids: Vec<_> = pending.iter().map(|job| &job["id"]).collect();
    assert_eq!(ids, ["61724"]);
    assert_eq!(
        shell.run(&["list", "--state", "failed"]).done().out,
        "no job is failed\n"
    );

    let all = shell.run(&["list", "--json"]).done().json();
    let job = all.iter().find(|job| job["id"] == "61723").unwrap();
    assert_eq!(job["state"], "in-progress");
    assert_eq!(job["polls"], 3);
    assert_eq!(job["steps"][1]["status"], "in-progress");
    assert!(job["next_poll_at"].as_str().unwrap().ends_with('Z'));
    for key in ["failure", "finished_at", "metadata", "webhook"] {
        assert!(
            job[key].is_null() && job.as_object().unwrap().contains_key(key),
            "{key}"
        );
    }
}

#[tokio::test]
async fn show_draws_what_happened_and_its_json_holds_everything() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "61723"]).done();
    shell.seen("61723", &two_steps("in-progress")).await;
    let error =
        json!({"code": "invalid-credentials", "title": "Cannot login\u{202e}", "detail": "again"});
    let mut failed = two_steps("failed");
    failed[1]["result"] = error;
    shell.seen("61723", &failed).await;

    let page = shell.run(&["show", "61723"]).done().out;
    for expected in [
        "✗ 61723  failed",
        "Steps  1 of 2 done",
        "✓ verify-credentials",
        "✗ retrieve-accounts",
        "code       invalid-credentials",
        r"title      Cannot login\u{202e}",
        "billing  0 of 1 delivered",
        "job.failed",
    ] {
        assert!(page.contains(expected), "{expected} is missing in\n{page}");
    }

    let shown = &shell.run(&["show", "61723", "--json"]).done().json()[0];
    assert_eq!(shown["failure"]["kind"], "step");
    assert_eq!(shown["resource"]["steps"], failed);
    let count = |key: &str| shown[key].as_array().unwrap().len();
    assert_eq!(
        (count("transitions"), count("events"), count("deliveries")),
        (3, 4, 1)
    );
    assert_eq!(shown["events"][3]["body"]["type"], "job.failed");
    assert_eq!(shown["deliveries"][0]["state"], "pending");

    let unknown = shell.run(&["show", "61724"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(
        unknown.err.contains("there is no job 61724"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn cancel_asks_for_the_end_of_those_that_still_run() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "1", "2"]).done();
    shell.seen("2", &two_steps("success")).await;
    let said = shell.run(&["cancel", "1", "2", "3"]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.out,
        "✓ 1  will be cancelled\n· 2  has ended already\n✗ 3  no such job\n"
    );
    assert!(said.err.contains("jobtrackd list"), "{}", said.err);
    let again = shell.run(&["cancel", "1", "2", "--json"]).done().json();
    assert_eq!(again[0], json!({"id": "1", "outcome": "requested"}));
    assert_eq!(again[1], json!({"id": "2", "outcome": "ended"}));
    let shown = &shell.run(&["show", "1", "--json"]).done().json()[0];
    assert_eq!(shown["cancel_requested"], true);
    assert!(shell.run(&["list"]).done().out.contains("cancelling"));
}
