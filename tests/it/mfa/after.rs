//! What follows from an answer: a look at once, then often, and another question when the bank has one.

use jobtrackd::simulator::{Phase, Scenario, Script, Step};
use serde_json::json;

use super::{MINUTE, SECOND, answer, asking, challenges_sent, relayed};
use crate::support::challenges::{ask, asking_steps, mfa};
use crate::support::world::World;

const SLOW: &str = "[polling]\nmax_delay = \"5m\"\njitter = 0.0";

#[tokio::test(start_paused = true)]
async fn after_an_answer_the_job_is_polled_at_once_and_often_while_the_bank_works() {
    let mut world = World::running_with(SLOW).await;
    let mut asked = mfa("/jobs/j/mfa");
    asked["expiryMs"] = json!(86_400_000);
    // The bank thinks for a minute and a half, and the job stands still all the while.
    let works = [
        Step::new("mfa-challenge", "in-progress"),
        Step::new("retrieve-accounts", "pending"),
    ];
    let done = [
        Step::new("mfa-challenge", "success"),
        Step::new("retrieve-accounts", "success"),
    ];
    let accepted = Script::new(vec![Phase::steps(0, &works), Phase::steps(90_000, &done)]);
    ask(&world.control(), "j", None, &asked, &["1234"], accepted);
    world.enqueue("j").await;
    world.until(MINUTE, &challenges_sent("j"), "1").await;
    world.pass(60 * MINUTE).await;
    let before = world.polled_at("j");
    let gap = before[before.len() - 1] - before[before.len() - 2];
    assert_eq!(gap, 300_000, "nothing has happened for long");

    let answered = world.elapsed();
    assert_eq!(answer(&mut world, "j", json!(["1234"])).await.0, 202);
    world.until_ended(10 * MINUTE).await;
    let after = world.polled_at("j").split_off(before.len());
    assert!(after[0] - answered <= 100, "at once: {after:?}");
    for pair in after.windows(2) {
        assert!((900..=1100).contains(&(pair[1] - pair[0])), "{after:?}");
    }
    assert!((90..=93).contains(&after.len()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leaves_the_challenge_as_it_is_makes_no_event() {
    let mut world = World::running_with(SLOW).await;
    let asked = mfa("/jobs/j/mfa");
    // Taken, and for ten seconds the job shows the old question.
    let done = [
        Step::new("mfa-challenge", "success"),
        Step::new("retrieve-accounts", "success"),
    ];
    let accepted = Script::new(vec![
        Phase::steps(0, &asking_steps(&asked)),
        Phase::steps(10_000, &done),
    ]);
    ask(&world.control(), "j", None, &asked, &["1234"], accepted);
    world.enqueue("j").await;
    world.until(MINUTE, &challenges_sent("j"), "1").await;
    let polls = world.polled_at("j").len();
    assert_eq!(answer(&mut world, "j", json!(["1234"])).await.0, 202);
    world.until_ended(10 * MINUTE).await;
    assert_eq!(world.value(&challenges_sent("j")).await, "1");
    assert!(
        world.polled_at("j").len() - polls >= 10,
        "it is looked at often"
    );
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_returns_after_a_wrong_answer_is_sent_again() {
    let mut world = World::running().await;
    asking(&mut world, "j", Scenario::MfaToken, "u1").await;
    let first = world
        .value("SELECT body FROM events WHERE type = 'job.action_required'")
        .await;
    world.pass(90 * SECOND).await;
    assert_eq!(answer(&mut world, "j", json!(["9999"])).await.0, 202);
    world.until(MINUTE, &challenges_sent("j"), "2").await;
    let bodies =
        "SELECT body FROM events WHERE type = 'job.action_required' ORDER BY sequence DESC";
    assert_ne!(world.value(bodies).await, first);
    // The first question has expired since, this one has two minutes of its own.
    world.pass(90 * SECOND).await;
    assert_eq!(answer(&mut world, "j", json!(["1234"])).await.0, 202);
    world.until_ended(10 * MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    assert_eq!(world.value(&challenges_sent("j")).await, "2");
    assert_eq!(relayed(&world).len(), 2);
}
