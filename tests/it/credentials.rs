//! Tokens and keys: asked for rarely, renewed in time, never shown, and no job ends because of them.

mod oauth2;

use std::time::Duration;

use jobtrackd::simulator::{Fault, FaultRule, SimulatorSettings};
use serde_json::{Value, json};

use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn endless(world: &mut World, count: usize) {
    for number in 0..count {
        let id = format!("j{number}");
        world.follow(&id, &[(0, &[("a", "in-progress")])]).await;
    }
}

/// The statuses of the polls so far, each once; that nothing has changed is a good answer, too.
fn poll_statuses(world: &World) -> Vec<u16> {
    let log = world.control().requests();
    let mut statuses: Vec<u16> = log
        .iter()
        .filter(|request| request.job.is_some())
        .filter_map(|request| request.status)
        .map(|status| if status == 304 { 200 } else { status })
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn token_refusal(status: u16, code: &str, title: &str) -> FaultRule {
    let error =
        json!({"type": "error", "code": code, "title": title, "detail": "no the-api-key today"});
    let body = json!({"type": "list", "correlationId": "c", "data": [error]}).to_string();
    let fault = Fault::Status {
        status,
        retry_after: None,
        body: Some(body),
    };
    FaultRule::new(fault).on_path("/token")
}

#[tokio::test(start_paused = true)]
async fn one_token_serves_all_jobs_and_is_renewed_before_its_end() {
    let mut world = World::running_with("[polling]\nmax_delay = \"1m\"").await;
    endless(&mut world, 20).await;
    world.pass(50 * MINUTE).await;
    assert_eq!(world.tokens_asked_at().len(), 1);
    world.pass(130 * MINUTE).await;
    assert_eq!(poll_statuses(&world), [200]);
    let asked = world.tokens_asked_at();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] < 3_600_000));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_minute_is_renewed_in_time_too() {
    let life = |settings: &mut SimulatorSettings| settings.token_life = MINUTE;
    let mut world = World::before(life).await;
    world.more = "[polling]\nmax_delay = \"1s\"".to_owned();
    world.start().await;
    endless(&mut world, 1).await;
    world.pass(5 * MINUTE).await;
    assert_eq!(poll_statuses(&world), [200]);
    assert!(world.tokens_asked_at().len() <= 8);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_early_is_replaced_once_and_the_jobs_go_on() {
    for (what, status) in [("expired", 403), ("revoked", 401)] {
        let mut world = World::running().await;
        endless(&mut world, 10).await;
        world.pass(10 * SECOND).await;
        match what {
            "expired" => world.control().expire_tokens(),
            _ => world.control().revoke_tokens(),
        }
        world.sql("UPDATE jobs SET poll_requested = 1").await;
        world.pass(20 * SECOND).await;
        assert_eq!(world.tokens_asked_at().len(), 2, "{what}");
        assert_eq!(poll_statuses(&world), [200, status], "{what}");
        let troubled =
            "SELECT count(*) FROM jobs WHERE consecutive_errors > 0 OR state <> 'in-progress'";
        assert_eq!(world.value(troubled).await, "0", "{what}");
        let said = "SELECT count(*) <= 2 FROM jobs WHERE last_error IS NOT NULL";
        assert_eq!(
            world.value(said).await,
            "1",
            "{what}: the third shows that it is the token"
        );
        // What is counted is written down within a second; nothing is added meanwhile.
        let later = world.clock.now().0 + 3_600_000;
        world
            .sql(&format!("UPDATE jobs SET not_before = {later}"))
            .await;
        world.pass(2 * SECOND).await;
        let requests: usize = (0..10)
            .map(|n| world.polled_at(&format!("j{n}")).len())
            .sum();
        assert_eq!(
            world.value("SELECT sum(polls) FROM jobs").await,
            requests.to_string()
        );
        let (code, ready) = world.get("/readyz").await;
        assert_eq!(
            (code, ready["status"].as_str()),
            (200, Some("ok")),
            "{ready}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_refused_for_days_is_that_jobs_trouble_alone() {
    for (status, title) in [
        (401, "Unauthorized access"),
        (403, "Token has expired"),
        (403, "Access to this resource is forbidden"),
    ] {
        let mut world = World::running().await;
        let error = json!({"type": "error", "code": "c", "title": title, "detail": ""});
        let refused = Fault::Status {
            status,
            retry_after: None,
            body: Some(json!({"type": "list", "data": [error]}).to_string()),
        };
        world
            .control()
            .inject(FaultRule::new(refused).on_job("bad"))
            .unwrap();
        world.follow("bad", &[(0, &[("a", "in-progress")])]).await;
        endless(&mut world, 5).await;
        world.pass(10 * SECOND).await;
        let tokens = world.tokens_asked_at().len();
        assert!(tokens <= 2, "{tokens}");
        for _ in 0..4 {
            world.pass(30 * MINUTE).await;
            let (code, ready) = world.get("/readyz").await;
            assert_eq!(
                (code, ready["status"].as_str()),
                (200, Some("ok")),
                "{ready}"
            );
        }
        assert_eq!(
            world.tokens_asked_at().len(),
            tokens + 2,
            "renewed early, no more"
        );
        let row = "SELECT consecutive_errors > 20, last_error FROM jobs WHERE id = 'bad'";
        let row = world.rows(row).await.remove(0);
        assert_eq!(row[0], "1");
        assert!(
            row[1].starts_with(&format!("forbidden ({status}): HTTP {status}")),
            "{}",
            row[1]
        );
        let polls = world.polled_at("j0").len();
        assert!(
            (235..=270).contains(&polls),
            "{polls} polls of another in two hours"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_never_taken_pauses_everything_and_ends_nothing() {
    let mut world = World::running().await;
    endless(&mut world, 3).await;
    world.pass(10 * SECOND).await;
    let unauthorized = Fault::Status {
        status: 401,
        retry_after: None,
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(unauthorized).on_path("/jobs"))
        .unwrap();
    let before = world.control().requests().len();
    world.pass(30 * MINUTE).await;
    let requests = world.control().requests().len() - before;
    assert!(requests < 60, "{requests} requests in half an hour");
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(code, 503, "{ready}");
    world.control().clear_faults();
    world.pass(6 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.0, 200);
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'in-progress'")
            .await,
        "3"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_keeps_the_jobs_says_so_and_recovers() {
    let mut world = World::running().await;
    let refusal = token_refusal(
        404,
        "resource-not-found",
        "Unable to authenticate. Please, check your API key",
    );
    world.control().inject(refusal.times(9)).unwrap();
    endless(&mut world, 5).await;
    world.pass(2 * SECOND).await;
    let (code, ready) = world.get("/readyz").await;
    assert_eq!((code, ready["status"].as_str()), (503, Some("unready")));
    let reasons = ready["reasons"].to_string();
    assert!(reasons.contains("check your API key"), "{reasons}");
    assert!(!reasons.contains("the-api-key"), "{reasons}");
    assert_eq!(world.get("/healthz").await.0, 200);
    let shown = world
        .value("SELECT count(*) FROM jobs WHERE last_error LIKE '%check your API key%'")
        .await;
    assert_ne!(
        shown, "0",
        "the row of a job that wanted a token says why it waits"
    );
    world.pass(40 * MINUTE).await;
    let asked = world.tokens_asked_at();
    let pauses = [
        5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000,
    ];
    for (pair, pause) in asked.windows(2).zip(pauses) {
        let gap = pair[1] - pair[0];
        assert!(
            gap >= pause && gap <= pause + pause / 10 + 50,
            "{gap} for {pause}"
        );
    }
    assert_eq!(asked.len(), 10, "{asked:?}");
    let states = world.rows("SELECT DISTINCT state FROM jobs").await;
    assert_eq!(states, [["in-progress"]]);
    assert_eq!(world.get("/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn after_too_many_token_requests_none_is_made_for_five_minutes() {
    let mut world = World::running().await;
    let refusal = token_refusal(403, "request-not-valid", "Invalid request");
    world.control().inject(refusal.times(2)).unwrap();
    endless(&mut world, 5).await;
    world.pass(4 * MINUTE).await;
    endless_more(&mut world).await;
    world.sql("UPDATE jobs SET poll_requested = 1").await;
    world.reload();
    world.pass(8 * MINUTE).await;
    let asked = world.tokens_asked_at();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(
        asked
            .windows(2)
            .all(|pair| (300_000..331_000).contains(&(pair[1] - pair[0]))),
        "{asked:?}"
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'in-progress'")
            .await,
        "6"
    );
}

async fn endless_more(world: &mut World) {
    world.follow("more", &[(0, &[("a", "in-progress")])]).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_is_down_degrades_and_the_present_token_is_used_on() {
    let mut world = World::running_with("[polling]\nmax_delay = \"1m\"").await;
    endless(&mut world, 2).await;
    world.pass(50 * MINUTE).await;
    world
        .control()
        .inject(FaultRule::new(Fault::Html).on_path("/token"))
        .unwrap();
    world.pass(9 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.0, 200);
    let polls = world.polled_at("j0").len();
    assert!(
        world.polled_at("j0").last().unwrap() > &(57 * 60_000),
        "the token is good until its end"
    );
    world.pass(10 * MINUTE).await;
    assert!(
        world.polled_at("j0").len() <= polls + 3,
        "nothing without a token"
    );
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(
        (code, ready["status"].as_str()),
        (200, Some("degraded")),
        "{ready}"
    );
    world.control().clear_faults();
    world.pass(6 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.1["status"], "ok");
    assert_eq!(poll_statuses(&world), [200]);
}

#[tokio::test(start_paused = true)]
async fn without_authentication_no_token_is_requested_or_sent() {
    let mut world = World::new().await;
    world.upstream = "auth = \"none\"".to_owned();
    world.start().await;
    let body = r#"{"type":"job","id":"j0","steps":[{"title":"a","status":"success"}]}"#;
    let answer = Fault::Status {
        status: 200,
        retry_after: None,
        body: Some(body.to_owned()),
    };
    world
        .control()
        .inject(FaultRule::new(answer).on_path("/jobs"))
        .unwrap();
    world.enqueue("j0").await;
    world.until_ended(MINUTE).await;
    let log = world.control().requests();
    assert_eq!(log.len(), 1);
    assert!(!log[0].authorized && log[0].path == "/jobs/j0");
}

/// A token of the simulator, had by hand.
async fn token(world: &World) -> String {
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asking = client
        .post(format!("{}/token", world.simulator.base_url()))
        .header("authorization", "Basic the-api-key")
        .header("basiq-version", "3.0")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("scope=SERVER_ACCESS");
    let text = world
        .clock
        .held(async { asking.send().await.unwrap().text().await.unwrap() })
        .await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_bearer_token_is_sent_as_it_is_and_printed_nowhere() {
    let mut world = World::new().await;
    let token = token(&world).await;
    world.upstream = format!("auth = \"bearer\"\napi_key = \"{token}\"");
    world.start().await;
    // An upstream that repeats the header back to us.
    let error = json!({"data": [{"type": "error", "code": "x", "title": format!("Bearer {token}"), "detail": token}]});
    let echo = Fault::Status {
        status: 500,
        retry_after: None,
        body: Some(error.to_string()),
    };
    world
        .control()
        .inject(FaultRule::new(echo).on_path("/jobs").times(2))
        .unwrap();
    endless(&mut world, 1).await;
    world.pass(2 * SECOND).await;
    assert!(
        world
            .value("SELECT last_error FROM jobs")
            .await
            .contains("***")
    );
    let (_, ready) = world.get("/readyz").await;
    assert!(!ready.to_string().contains(&token));
    world.pass(MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "in-progress");
    assert_eq!(world.tokens_asked_at().len(), 1, "only the one had by hand");
    assert_absent(&world, &token);
    // A fixed token that is refused cannot be replaced: the jobs wait, and no token is asked for.
    world.control().revoke_tokens();
    world.pass(10 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.0, 503);
    assert_eq!(world.tokens_asked_at().len(), 1);
    assert_absent(&world, &token);
}

#[tokio::test(start_paused = true)]
async fn the_key_is_in_no_file_of_the_database() {
    let mut world = World::running().await;
    let refusal = token_refusal(404, "resource-not-found", "the-api-key is wrong");
    world.control().inject(refusal.times(3)).unwrap();
    endless(&mut world, 3).await;
    world.pass(2 * SECOND).await;
    assert_absent(&world, "the-api-key");
    world.pass(5 * MINUTE).await;
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'in-progress'")
            .await,
        "3"
    );
    assert_absent(&world, "the-api-key");
    // Tokens of the simulator begin so.
    assert_absent(&world, "sim.");
}

/// That no file beside the database holds these bytes.
#[track_caller]
fn assert_absent(world: &World, secret: &str) {
    let database = world.database();
    let mut files = 0;
    for entry in std::fs::read_dir(database.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds a secret", path.display());
        files += 1;
    }
    assert!(files >= 2, "the database and its write-ahead log");
}
