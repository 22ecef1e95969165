//! Answers that are sent: with whose token, how often, and what comes back.

use jobtrackd::simulator::{Fault, FaultRule, Scenario, SimulatorSettings};
use serde_json::{Value, json};

use super::{MINUTE, answer, asking, challenges_sent, follow_asking, post, relayed};
use crate::support::challenges::mfa;
use crate::support::world::World;

/// An API that takes answers with the token of the job's user only, as its documents say.
async fn strict() -> World {
    let strict = |settings: &mut SimulatorSettings| settings.client_token_for_mfa = true;
    let mut world = World::before(strict).await;
    world.start().await;
    world
}

fn fault(status: u16, body: &str) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        body: Some(body.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn answers_go_with_the_token_of_the_jobs_user_and_the_job_succeeds() {
    let mut world = strict().await;
    for (id, scenario, right) in [
        ("token", Scenario::MfaToken, json!(["1234"])),
        (
            "questions",
            Scenario::MfaQuestions,
            json!(["Basiq", "AU00002"]),
        ),
        ("approval", Scenario::MfaApproval, json!(["confirmed"])),
        ("seed", Scenario::SeedMfaExample, json!(["1234"])),
    ] {
        asking(&mut world, id, scenario, "u1").await;
        let (status, body) = answer(&mut world, id, right).await;
        assert_eq!((status, &body["id"]), (202, &json!(id)), "{body}");
        world.until_ended(10 * MINUTE).await;
        let state = format!("SELECT state FROM jobs WHERE id = '{id}'");
        assert_eq!(world.value(&state).await, "success", "{id}");
    }
    let log = relayed(&world);
    assert_eq!(log.len(), 4);
    for request in &log {
        assert_eq!(
            (request.user.as_deref(), request.status),
            (Some("u1"), Some(202)),
            "{request:?}"
        );
    }
    let requests = world.control().requests();
    let polls = requests.iter().filter(|each| each.method == "GET");
    assert!(polls.into_iter().all(|poll| poll.user.is_none()));
    assert_eq!(
        world.tokens_asked_at().len(),
        2,
        "one for the server and one for the user"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_user_answers_go_with_the_servers_token() {
    let mut world = World::running().await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    assert_eq!(answer(&mut world, "j", json!(["1234"])).await.0, 202);
    let log = relayed(&world);
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].user.as_deref(), log[0].authorized), (None, true));
    assert_eq!(world.tokens_asked_at().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_without_inputs_is_answered_with_nothing_or_one_word() {
    for (input, answers) in [
        (json!([]), json!([])),
        (json!([]), json!(["confirmed"])),
        (Value::Null, json!([])),
        (json!("Code"), json!(["1234"])),
    ] {
        let mut world = World::running().await;
        let mut asked = mfa("/jobs/j/mfa");
        asked["input"] = input.clone();
        follow_asking(&mut world, "j", &asked).await;
        // The simulator has an opinion of its own; that it was asked for it is enough.
        let (status, body) = answer(&mut world, "j", answers.clone()).await;
        assert!(status == 202 || status == 400, "{body}");
        assert_eq!(relayed(&world).len(), 1, "{input} {answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_apis_refusals_come_back_word_for_word_and_the_job_is_polled_at_once() {
    let mut world = World::running_with("[polling]\nmax_delay = \"10m\"").await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    world.pass(30 * MINUTE).await;
    let (body, path) = (r#"{"mfa-response":["1234"]}"#, "/jobs/j/mfa?late=true");
    for (status, text) in [
        (
            400,
            r#"{"type":"list","correlationId":"c","data":[{"code":"parameter-not-valid"}]}"#,
        ),
        (429, "{}"),
        (404, ""),
        (500, "<html>oh</html>"),
    ] {
        let rule = FaultRule::new(fault(status, text)).on_path("/jobs/j/mfa");
        world.control().inject(rule.times(1)).unwrap();
        let polls = world.polled_at("j").len();
        let answered = post(&mut world, path, body).await;
        assert_eq!(answered, (status, text.to_owned()));
        world.pass(MINUTE / 600).await;
        assert_eq!(world.polled_at("j").len(), polls + 1, "{status}");
    }
    assert_eq!(
        world.value(&challenges_sent("j")).await,
        "1",
        "it is the same challenge"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_is_no_reason_to_send_it_twice() {
    let mut world = World::running().await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    let reset = FaultRule::new(Fault::Reset { after_bytes: 3 }).on_path("/jobs/j/mfa");
    world.control().inject(reset).unwrap();
    let (status, body) = answer(&mut world, "j", json!(["1234"])).await;
    assert_eq!(status, 502, "{body}");
    let detail = body["data"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("may have received the answers"), "{detail}");
    assert_eq!(relayed(&world).len(), 1);
    world.until_ended(MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_answers_go_to_the_new_api_with_the_new_key() {
    let mut world = World::running().await;
    follow_asking(&mut world, "j", &mfa("/jobs/j/mfa")).await;
    world.upstream = "auth = \"bearer\"\napi_key = \"another-key\"".to_owned();
    world.reload();
    let (status, _) = answer(&mut world, "j", json!(["1234"])).await;
    assert_eq!(status, 401, "the simulator gave out no such token");
    assert!(!relayed(&world)[0].authorized);
}
