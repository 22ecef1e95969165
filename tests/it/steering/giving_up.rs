//! One event is given up, or everything that waits for a webhook.

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::store::{Backlogs as _, Unwanted};

use jobtrackd::simulator::HANG;

use super::{HOUR, MINUTE, SECOND, all_pages, delivering_world, disable, done, enable, outsider};
use crate::delivering::webhook;
use crate::support::receiver::sequences;
use crate::support::world::World;

async fn give_up(world: &mut World, unwanted: Unwanted) -> u64 {
    let store = outsider(world).await;
    let changed = all_pages(|| store.give_up(&unwanted)).await;
    store.leave().await;
    world.daemon().wakeup();
    changed
}

async fn event(world: &World, job: &str, sequence: u32) -> String {
    let sql = format!("SELECT id FROM events WHERE job_id = '{job}' AND sequence = {sequence}");
    world.value(&sql).await
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_given_up_blocks_its_job_no_more() {
    let mut world = delivering_world("events = [\"*\"]\nretry = [\"1d\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    done(&mut world, "j").await;
    world.pass(MINUTE).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    let first = event(&world, "j", 1).await;
    assert_eq!(give_up(&mut world, Unwanted::Event(first.clone())).await, 1);
    world.pass(SECOND).await;
    assert_eq!(sequences(&world.sink.accepted("all")), [2]);
    let row = "SELECT state, attempts, last_error FROM deliveries WHERE sequence = 1";
    let found = world.rows(row).await;
    let [state, attempts, why] = &found[0][..] else {
        unreachable!("three columns");
    };
    assert_eq!((state.as_str(), attempts.as_str()), ("exhausted", "1"));
    assert!(
        why.starts_with("given up by an operator; before: "),
        "{why}"
    );
    assert_eq!(
        give_up(&mut world, Unwanted::Event(first)).await,
        0,
        "once is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_webhook_that_is_named_gives_it_up_and_one_that_is_disabled_when_it_is() {
    let mut world = delivering_world("events = [\"job.completed\"]", &webhook("other", "")).await;
    world.sink.reply_in_turn("all", &[(500, ""); 9]);
    world.sink.reply_in_turn("other", &[(500, ""); 9]);
    done(&mut world, "j").await;
    world.pass(SECOND).await;
    disable(&world, "other").await;
    world.daemon().wakeup();
    let id = event(&world, "j", 2).await;
    assert_eq!(
        give_up(&mut world, Unwanted::Event(id.clone())).await,
        1,
        "what is pending"
    );
    let states = "SELECT webhook, state FROM deliveries ORDER BY 1";
    assert_eq!(
        world.rows(states).await,
        [["all", "exhausted"], ["other", "disabled"]]
    );
    let of = Unwanted::EventOf(id, WebhookName::new("other"));
    assert_eq!(give_up(&mut world, of).await, 1);
    enable(&world, "other").await;
    world.daemon().wakeup();
    let requests = world.sink.requests("other").len();
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("other").len(), requests);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_after_it_was_given_up_has_arrived() {
    let mut world = delivering_world("events = [\"job.completed\"]\ntimeout = \"1m\"", "").await;
    world.sink.reply_in_turn("all", &[(HANG, "")]);
    done(&mut world, "lost").await;
    world.pass(SECOND).await;
    let lost = event(&world, "lost", 2).await;
    assert_eq!(give_up(&mut world, Unwanted::Event(lost)).await, 1);
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("all").len(), 1, "it is not tried again");
    let row = "SELECT state, attempts, last_error LIKE 'given up by an operator%' FROM deliveries";
    assert_eq!(world.rows(row).await, [["exhausted", "1", "1"]]);
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_for_a_webhook_is_given_up_at_once() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 100]);
    for job in ["a", "b", "c"] {
        done(&mut world, job).await;
    }
    world.pass(SECOND).await;
    let all = Unwanted::AllOf(WebhookName::new("all"));
    assert_eq!(give_up(&mut world, all).await, 6);
    let requests = world.sink.requests("all").len();
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("all").len(), requests);
    let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
    assert_eq!(states, [["exhausted"]]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_another_hand_has_spoilt_stands_in_the_way_of_no_command() {
    for disabled in [false, true] {
        let mut world = delivering_world("retry = [\"1d\"]", "").await;
        world.sink.reply_in_turn("all", &[(500, ""); 2]);
        for job in ["a", "b"] {
            done(&mut world, job).await;
        }
        world.pass(SECOND).await;
        let all = WebhookName::new("all");
        if disabled {
            disable(&world, "all").await;
        }
        let spoil = "UPDATE deliveries SET job_id = 'no/id' WHERE job_id = 'a'";
        world.foreign_sql(spoil).await;
        if disabled {
            assert_eq!(enable(&world, "all").await, 2);
            world.daemon().wakeup();
            world.pass(MINUTE).await;
            assert_eq!(world.sink.accepted("all").len(), 1);
            continue;
        }
        let store = outsider(&world).await;
        let moved = store.move_deliveries(&all, &WebhookName::new("new")).await;
        store.leave().await;
        let moved = moved.unwrap();
        assert_eq!((moved.deliveries, moved.is_last), (1, true));
        assert_eq!(give_up(&mut world, Unwanted::AllOf(all)).await, 1);
        let left = "SELECT count(*) FROM deliveries WHERE webhook = 'all' AND state = 'pending'";
        assert_eq!(world.value(left).await, "0");
    }
}
