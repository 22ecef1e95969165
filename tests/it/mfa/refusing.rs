//! Answers that are not sent, and what is said instead.

use jobtrackd::simulator::{Fault, FaultRule, Phase, Scenario, Step};
use serde_json::{Value, json};

use super::{MINUTE, SECOND, answer, asking, challenges_sent, follow_asking, post, relayed};
use crate::support::challenges::mfa;
use crate::support::world::World;

/// What an answer of ours says, in the API's envelope.
fn detail(body: &Value) -> &str {
    assert_eq!(body["type"], "list", "{body}");
    body["data"][0]["detail"].as_str().unwrap()
}

/// Answers with a canary, which must come back from here as little as go out.
async fn refused(world: &mut World, id: &str, wanted: u16, says: &str) {
    let (status, body) = answer(world, id, json!(["canary-1234"])).await;
    assert_eq!(status, wanted, "{id}: {body}");
    assert!(detail(&body).contains(says), "{id}: {body}");
    assert!(!body.to_string().contains("canary"), "{body}");
    assert!(relayed(world).is_empty(), "{id}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_asks_for_nothing_takes_no_answer() {
    let mut world = World::running().await;
    world.follow("runs", &[(0, &[("a", "in-progress")])]).await;
    world.follow("ended", &[(0, &[("a", "success")])]).await;
    world
        .sql("INSERT INTO jobs (id, not_before) VALUES ('new', 99999999999999)")
        .await;
    let state = "SELECT state FROM jobs WHERE id = 'ended'";
    world.until(MINUTE, state, "success").await;
    refused(&mut world, "nobody", 404, "there is no job nobody").await;
    refused(&mut world, "runs", 409, "no open challenge").await;
    refused(&mut world, "ended", 409, "has ended").await;
    refused(&mut world, "new", 409, "no open challenge").await;
    refused(&mut world, "a%20b", 400, "not valid").await;

    // Kept in the result after success, as version 3 does.
    let kept = Step::new("mfa-challenge", "success").with(mfa("/jobs/past/mfa"));
    let other = Step::new("a", "in-progress");
    world.tell("past", vec![Phase::steps(0, &[kept, other])]);
    world.enqueue("past").await;
    let seen = "SELECT count(*) FROM steps WHERE job_id = 'past'";
    world.until(MINUTE, seen, "2").await;
    refused(&mut world, "past", 409, "no open challenge").await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_challenge_is_said_to_be_and_can_be_answered_late() {
    let mut world = World::running().await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    world.pass(119 * SECOND).await;
    // Not one answer too many is sent before it expires, and so not after.
    let (status, _) = answer(&mut world, "j", json!(["1", "2"])).await;
    assert_eq!(status, 422);
    world.pass(2 * SECOND).await;
    refused(&mut world, "j", 410, "expired at").await;
    refused(&mut world, "j", 410, "--late").await;
    let body = r#"{"mfa-response":["1234"]}"#;
    for (query, wanted) in [("?late=false", 410), ("?late=x", 400), ("?when=now", 400)] {
        let (status, text) = post(&mut world, &format!("/jobs/j/mfa{query}"), body).await;
        assert_eq!(status, wanted, "{text}");
    }
    assert!(relayed(&world).is_empty());
    let (status, _) = post(&mut world, "/jobs/j/mfa?late=true", body).await;
    assert_eq!((status, relayed(&world).len()), (202, 1));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_counts_from_its_own_first_sight_and_without_expiry_never_ends() {
    let mut world = World::running().await;
    let mut endless = mfa("/jobs/endless/mfa");
    endless["expiryMs"] = Value::Null;
    follow_asking(&mut world, "endless", &endless).await;
    let mut short = mfa("/jobs/short/mfa");
    short["expiryMs"] = json!(3600);
    follow_asking(&mut world, "short", &short).await;
    world.pass(60 * MINUTE).await;
    refused(&mut world, "short", 410, "may mean seconds").await;
    assert_eq!(answer(&mut world, "endless", json!(["1234"])).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_answers_names_the_inputs() {
    let mut world = World::running().await;
    let mut two = mfa("/jobs/two/mfa");
    two["input"] = json!(["Your first pet?", "Your \u{1b}[2J company?"]);
    follow_asking(&mut world, "two", &two).await;
    refused(&mut world, "two", 422, "takes 2 answers, not 1").await;
    refused(&mut world, "two", 422, "Your first pet?").await;
    refused(&mut world, "two", 422, "Your \\u001b[2J company?").await;
    for (given, wanted) in [(json!([]), 422), (json!(["a", "b", "c"]), 422)] {
        assert_eq!(answer(&mut world, "two", given).await.0, wanted);
    }
    let mut none = mfa("/jobs/none/mfa");
    none["input"] = json!([]);
    follow_asking(&mut world, "none", &none).await;
    let (status, body) = answer(&mut world, "none", json!(["a", "b"])).await;
    assert_eq!(status, 422, "{body}");
    assert!(relayed(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_list_of_short_texts_is_refused_and_not_repeated() {
    let mut world = World::running().await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    let long = format!("{{\"mfa-response\":[\"{}\"]}}", "canary".repeat(1000));
    let huge = format!("{{\"mfa-response\":[\"{}\"]}}", "canary".repeat(100_000));
    let many = json!({ "mfa-response": vec!["canary"; 21] }).to_string();
    for (body, wanted) in [
        ("", 400),
        ("canary", 400),
        ("{\"mfa-response\":\"canary\"}", 400),
        ("{\"mfa-response\":[1234]}", 400),
        ("{\"mfa-response\":[\"canary\", null]}", 400),
        ("{\"mfa-response\":[\"canary\"], \"canary\": 1}", 400),
        ("{\"mfa-response\":[\"\"]}", 400),
        (&long, 400),
        (&many, 400),
        (&huge, 413),
    ] {
        let (status, text) = post(&mut world, "/jobs/j/mfa", body).await;
        assert_eq!(status, wanted, "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    assert!(relayed(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_go_nowhere_but_to_the_apis_own_origin() {
    let elsewhere = World::new().await;
    let foreign = format!("{}/jobs/j/mfa", elsewhere.simulator.base_url());
    for (response, says) in [
        (foreign.as_str(), "not that of upstream.base_url"),
        ("//evil.test/mfa", "would name another host"),
        ("/../mfa", "dot segments"),
        ("", "neither a path"),
    ] {
        let mut world = World::running().await;
        follow_asking(&mut world, "j", &mfa(response)).await;
        let tokens = world.tokens_asked_at().len();
        refused(&mut world, "j", 502, says).await;
        assert_eq!(world.tokens_asked_at().len(), tokens);
    }
    assert!(elsewhere.control().requests().is_empty());
    let mut world = World::running().await;
    let mut nowhere = mfa("");
    nowhere["links"] = Value::Null;
    follow_asking(&mut world, "j", &nowhere).await;
    refused(&mut world, "j", 502, "no links.response").await;
}

#[tokio::test(start_paused = true)]
async fn without_a_token_for_the_user_nothing_is_sent() {
    let mut world = World::running().await;
    asking(&mut world, "j", Scenario::MfaToken, "u1").await;
    let refusal = Fault::Status {
        status: 404,
        retry_after: None,
        body: None,
    };
    let rule = FaultRule::new(refusal).on_path("/token");
    world.control().inject(rule).unwrap();
    refused(&mut world, "j", 503, "nothing was sent").await;
    assert_eq!(world.value(&challenges_sent("j")).await, "1");
    let (status, ready) = world.get("/readyz").await;
    assert_eq!(
        (status, &ready["status"]),
        (200, &json!("ok")),
        "polls have their token"
    );
}
