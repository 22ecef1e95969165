//! Order: per job and webhook one after the other, and nobody else waits.

use jobtrackd::simulator::HANG;

use super::{HOUR, MINUTE, SECOND, delivering_world, done, webhook};
use crate::support::receiver::sequences_of;

#[tokio::test(start_paused = true)]
async fn a_failing_event_holds_back_its_own_job_and_webhook_only() {
    let retry = "events = [\"*\"]\nretry = [\"1m\", \"1m\"]";
    let mut world = delivering_world(retry, &webhook("other", "events = [\"*\"]")).await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    done(&mut world, "held").await;
    world.pass(10 * SECOND).await;
    done(&mut world, "free").await;
    world.pass(10 * SECOND).await;
    let all = world.sink.accepted("all");
    assert_eq!(
        (sequences_of(&all, "held"), sequences_of(&all, "free")),
        (vec![], vec![1, 2])
    );
    assert_eq!(sequences_of(&world.sink.accepted("other"), "held"), [1, 2]);
    let waiting = world
        .rows("SELECT sequence, next_attempt_at IS NULL FROM deliveries WHERE state = 'pending' ORDER BY sequence")
        .await;
    assert_eq!(
        waiting,
        [["1", "0"], ["2", "1"]],
        "only the head of a lane is due"
    );
    world.until_ended(5 * MINUTE).await;
    assert_eq!(sequences_of(&world.sink.accepted("all"), "held"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn events_of_one_job_never_overtake_each_other_whatever_fails() {
    let mut world =
        delivering_world("events = [\"*\"]\nretry = [\"2s\", \"4s\", \"8s\"]", "").await;
    let answers: Vec<(u16, &str)> = (0..40)
        .map(|n| match n % 5 {
            0 => (500, ""),
            1 => (204, ""),
            2 => (429, "3"),
            3 => (200, ""),
            _ => (302, ""),
        })
        .collect();
    world.sink.reply_in_turn("all", &answers);
    for id in ["a", "b", "c", "d"] {
        let phases: &[(u64, &[(&str, &str)])] = &[
            (0, &[("x", "pending"), ("y", "pending")]),
            (3000, &[("x", "success"), ("y", "in-progress")]),
            (6000, &[("x", "success"), ("y", "success")]),
        ];
        world.follow(id, phases).await;
    }
    world.until_ended(HOUR).await;
    let received = world.sink.received();
    for id in ["a", "b", "c", "d"] {
        let all = sequences_of(&received, id);
        assert!(all.is_sorted(), "{id}: {all:?}");
        let accepted = sequences_of(&world.sink.accepted("all"), id);
        assert!(
            accepted.len() > 1 && accepted.windows(2).all(|pair| pair[0] < pair[1]),
            "{id}: {accepted:?}"
        );
    }
    let states = world
        .rows("SELECT DISTINCT state FROM deliveries ORDER BY state")
        .await;
    assert!(
        states
            .iter()
            .all(|state| ["delivered", "exhausted"].contains(&state[0].as_str()))
    );
    assert_eq!(world.value("SELECT count(*) FROM deliveries").await, "24");
    let attempts = world.value("SELECT count(*) FROM attempts").await;
    assert_eq!(
        attempts,
        received.len().to_string(),
        "every request has its row"
    );
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_per_job_and_webhook() {
    let mut world = delivering_world("events = [\"*\"]\ntimeout = \"10s\"", "").await;
    world.sink.reply_in_turn("all", &[(HANG, "")]);
    done(&mut world, "j").await;
    world.pass(9 * SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    world.until_ended(MINUTE).await;
    assert_eq!(sequences_of(&world.sink.accepted("all"), "j"), [1, 2]);
}
