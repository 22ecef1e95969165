//! Events sent again.

use jobtrackd::store::{ReplayFilter, Replays as _};

use jobtrackd::simulator::{HANG, Received};

use super::{HOUR, MINUTE, SECOND, delivering_world, disable, done, everything, outsider, replay};
use crate::delivering::webhook;
use crate::support::world::{EPOCH, World};

fn of(job: &str) -> ReplayFilter {
    ReplayFilter {
        job: Some(job.to_owned()),
        ..everything()
    }
}

/// What came for "all" since then: job, sequence and whether it says that it is a replay.
fn since(world: &World, before: usize) -> Vec<(String, u64, bool)> {
    let requests = world.sink.requests("all");
    let each = |each: &Received| {
        let is_replay = each.header("webhook-replay") == "true";
        (each.job.as_str().to_owned(), each.sequence, is_replay)
    };
    requests[before..].iter().map(each).collect()
}

/// On every pending lane the first one has a due time, and no other.
async fn assert_heads(world: &World) {
    let wrong = world
        .rows(
            "SELECT d.job_id, d.sequence, d.next_attempt_at FROM deliveries AS d
             WHERE d.state = 'pending' AND (d.next_attempt_at IS NOT NULL) <> (d.sequence = (
                 SELECT min(f.sequence) FROM deliveries AS f
                 WHERE f.webhook = d.webhook AND f.job_id = d.job_id AND f.state = 'pending'))",
        )
        .await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn delivered_events_are_sent_again_with_the_same_bytes_and_say_so() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    done(&mut world, "a").await;
    done(&mut world, "b").await;
    world.until_ended(MINUTE).await;
    let first = world.sink.requests("all");
    assert_eq!(replay(&world, &of("a")).await, 2);
    world.daemon().wakeup();
    world.pass(MINUTE + SECOND).await;
    let expected = [("a".to_owned(), 1, true), ("a".to_owned(), 2, true)];
    assert_eq!(since(&world, first.len()), expected);
    for again in &world.sink.requests("all")[first.len()..] {
        let before = first.iter().find(|each| each.id == again.id).unwrap();
        assert_eq!(before.body, again.body);
        assert_eq!(again.header("webhook-attempt"), "2");
    }
    let attempts = world
        .rows("SELECT e.sequence, a.number, a.trigger FROM attempts AS a JOIN events AS e ON e.id = a.event_id WHERE e.job_id = 'a' ORDER BY 1, 2")
        .await;
    let expected = [
        ["1", "1", "schedule"],
        ["1", "2", "manual"],
        ["2", "1", "schedule"],
        ["2", "2", "manual"],
    ];
    assert_eq!(attempts, expected);
    let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
    assert_eq!(states, [["delivered"]]);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_sent_again_with_a_whole_schedule_and_alone_if_asked_so() {
    let mut world = delivering_world("events = [\"job.completed\"]\nretry = [\"1s\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""), (500, "")]);
    done(&mut world, "lost").await;
    world.until_ended(MINUTE).await;
    done(&mut world, "taken").await;
    world.until_ended(MINUTE).await;
    let failed = ReplayFilter {
        failed_only: true,
        ..everything()
    };
    world.sink.reply_in_turn("all", &[(500, "")]);
    assert_eq!(replay(&world, &failed).await, 1);
    world.daemon().wakeup();
    world.pass(2 * MINUTE).await;
    let expected = [("lost".to_owned(), 2, true), ("lost".to_owned(), 2, true)];
    assert_eq!(since(&world, 3), expected);
    let states = world
        .rows("SELECT state, attempts FROM deliveries ORDER BY job_id")
        .await;
    assert_eq!(states, [["delivered", "4"], ["delivered", "1"]]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_event_that_is_asked_for_goes_before_those_that_wait() {
    let mut world = delivering_world("events = [\"*\"]\nretry = [\"10m\", \"10m\"]", "").await;
    world.sink.reply_in_turn("all", &[(204, ""), (500, "")]);
    done(&mut world, "j").await;
    world.pass(SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 2);
    let first = world
        .value("SELECT id FROM events WHERE sequence = 1")
        .await;
    let filter = ReplayFilter {
        event: Some(first),
        ..everything()
    };
    assert_eq!(replay(&world, &filter).await, 1);
    assert_heads(&world).await;
    world.until_ended(HOUR).await;
    let order: Vec<u64> = since(&world, 2).iter().map(|each| each.1).collect();
    assert_eq!(order, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_event_under_way_and_an_earlier_one_asked_for_are_never_sent_at_once() {
    let mut world =
        delivering_world("events = [\"*\"]\ntimeout = \"1m\"\nretry = [\"5m\"]", "").await;
    world.sink.reply_in_turn("all", &[(204, ""), (HANG, "")]);
    done(&mut world, "j").await;
    world.pass(5 * SECOND).await;
    assert_eq!(replay(&world, &of("j")).await, 2);
    world.daemon().wakeup();
    world.pass(20 * SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 2, "its lane is busy");
    world.until_ended(HOUR).await;
    assert_heads(&world).await;
    let order: Vec<u64> = since(&world, 2).iter().map(|each| each.1).collect();
    assert_eq!(order, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_sent_again_in_the_order_in_which_they_happened() {
    let mut world = delivering_world("events = [\"job.completed\"]\nmax_in_flight = 1", "").await;
    for job in 0..30 {
        done(&mut world, &format!("j{job}")).await;
        world.pass(SECOND).await;
    }
    world.until_ended(MINUTE).await;
    let happened: Vec<String> = since(&world, 0).into_iter().map(|each| each.0).collect();
    let from = ReplayFilter {
        since: Some(EPOCH.plus(5 * SECOND)),
        until: Some(EPOCH.plus(20 * SECOND)),
        webhook: Some("all".to_owned()),
        ..everything()
    };
    let count = replay(&world, &from).await;
    world.daemon().wakeup();
    assert!((10..=17).contains(&count), "{count}");
    world.pass(2 * MINUTE).await;
    let again: Vec<String> = since(&world, 30).into_iter().map(|each| each.0).collect();
    assert_eq!(again.len() as u64, count);
    let place = |job: &String| happened.iter().position(|each| each == job).unwrap();
    assert!(again.is_sorted_by_key(place), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_was_broken_off_is_gone_on_with_where_it_was() {
    let mut world = delivering_world("events = [\"job.completed\"]", "").await;
    for job in ["a", "b", "c"] {
        done(&mut world, job).await;
    }
    world.until_ended(MINUTE).await;
    world.stop().await;
    let store = outsider(&world).await;
    let filter = everything();
    let begun = store.begin_replay(&filter).await.unwrap();
    let mut page = store.replayable(&filter, 0).await.unwrap();
    assert_eq!(page.deliveries.len(), 3);
    page.deliveries.truncate(2);
    page.reached = page.deliveries[1].cursor;
    page.is_last = false;
    let half = store.replay(&begun, &page).await.unwrap().unwrap();
    assert_eq!(half.deliveries, 2);
    assert_eq!(
        store.replay(&begun, &page).await.unwrap(),
        None,
        "nobody can do a page twice"
    );
    let [found] = store
        .unfinished_replays()
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(
        (found.id, found.reached, found.deliveries),
        (half.id, half.reached, 2)
    );
    let rest = store
        .replayable(&found.filter, found.reached)
        .await
        .unwrap();
    assert_eq!((rest.deliveries.len(), rest.is_last), (1, true));
    store.replay(&found, &rest).await.unwrap().unwrap();
    assert_eq!(store.unfinished_replays().await.unwrap(), []);
    store.leave().await;
    world.start().await;
    world.until_ended(MINUTE).await;
    let mut again: Vec<String> = since(&world, 3).into_iter().map(|each| each.0).collect();
    again.sort();
    assert_eq!(again, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn webhooks_that_are_disabled_and_those_that_never_had_an_event_are_left_alone() {
    let more = [
        webhook("off", ""),
        webhook("never", "events = [\"job.delayed\"]"),
    ]
    .concat();
    let mut world = delivering_world("", &more).await;
    done(&mut world, "j").await;
    world.until_ended(MINUTE).await;
    disable(&world, "off").await;
    world.daemon().wakeup();
    assert_eq!(replay(&world, &everything()).await, 1);
    world.daemon().wakeup();
    world.pass(2 * MINUTE).await;
    assert_eq!(world.sink.requests("all").len(), 2);
    assert_eq!(world.sink.requests("off").len(), 1);
    assert!(world.sink.requests("never").is_empty());
    let state = world
        .value("SELECT state FROM deliveries WHERE webhook = 'off'")
        .await;
    assert_eq!(state, "delivered", "it is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_replay_to_a_held_webhook_is_tried_at_once() {
    let mut world = delivering_world("events = [\"job.completed\"]\nretry = [\"1d\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 8]);
    for job in 0..8 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(HOUR).await;
    let before = world.sink.requests("all").len();
    world.sink.forget_replies("all");
    assert_eq!(replay(&world, &of("j3")).await, 1);
    world.daemon().wakeup();
    world.pass(SECOND).await;
    let after = since(&world, before);
    assert!(after.contains(&("j3".to_owned(), 2, true)), "{after:?}");
    assert_eq!(world.value("SELECT held_since FROM webhooks").await, "-");
}
