//! Answers to challenges, through the daemon: from a request here to a request there, and what follows from it.

mod after;
mod refusing;
mod relaying;

use std::time::Duration;

use jobtrackd::simulator::{LoggedRequest, NewJob, Scenario};
use serde_json::{Value, json};

use crate::support::challenges::{ask, done};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How many challenges of a job were sent to webhooks.
fn challenges_sent(id: &str) -> String {
    format!("SELECT count(*) FROM events WHERE job_id = '{id}' AND type = 'job.action_required'")
}

/// The status and the text of the answer to a POST.
async fn post(world: &mut World, path: &str, body: &str) -> (u16, String) {
    let address = world.daemon().status_address().unwrap();
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{address}{path}"))
        .header("content-type", "application/json")
        .body(body.to_owned());
    let asking = async {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    world.clock.held(asking).await
}

async fn answer(world: &mut World, id: &str, answers: Value) -> (u16, Value) {
    let body = json!({ "mfa-response": answers }).to_string();
    let (status, text) = post(world, &format!("/jobs/{id}/mfa"), &body).await;
    let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, answer)
}

/// The requests that held answers.
fn relayed(world: &World) -> Vec<LoggedRequest> {
    let log = world.control().requests().into_iter();
    log.filter(|each| each.path.ends_with("/mfa")).collect()
}

/// Follows a job of this script and user until it has a challenge.
async fn asking(world: &mut World, id: &str, scenario: Scenario, user: &str) {
    let mut job = NewJob::of(scenario).with_id(id);
    job.user = Some(user.to_owned());
    world.control().create(job).unwrap();
    world.enqueue(id).await;
    world.until(MINUTE, &challenges_sent(id), "1").await;
}

/// Follows a job with this challenge until it was sent.
async fn follow_asking(world: &mut World, id: &str, mfa: &Value) {
    ask(&world.control(), id, None, mfa, &["1234"], done());
    world.enqueue(id).await;
    world.until(MINUTE, &challenges_sent(id), "1").await;
}
