//! Other settings while work goes on: nothing stops, nothing waits, nothing is done twice.

use jobtrackd::simulator::{Fault, FaultRule, HANG, Received};

use crate::delivering::{HOUR, MINUTE, SECOND, delivering_world, done, webhook};
use crate::support::world::World;

/// A world in which a poll and a delivery hang until their timeouts, an hour away.
async fn hanging() -> World {
    let mut world = World::new().await;
    world.upstream.push_str("\ntimeout = \"10m\"");
    world.all = "events = [\"job.completed\"]\ntimeout = \"10m\"".to_owned();
    world.start().await;
    let hang = FaultRule::new(Fault::Hang).on_job("hung");
    world.control().inject(hang).unwrap();
    world.follow("hung", &[(0, &[("a", "success")])]).await;
    world.sink.reply_in_turn("all", &[(HANG, "")]);
    done(&mut world, "stuck").await;
    world.pass(SECOND).await;
    assert_eq!(world.polled_at("hung").len(), 1);
    assert_eq!(world.sink.requests("all").len(), 1);
    world
}

#[tokio::test(start_paused = true)]
async fn polls_and_deliveries_of_others_go_on_while_a_request_hangs_through_reloads() {
    let mut world = hanging().await;
    for round in 0..5 {
        let before = world.elapsed();
        world.reload();
        assert_eq!(world.elapsed(), before, "a reload takes no time");
        let job = format!("j{round}");
        done(&mut world, &job).await;
        world.pass(SECOND).await;
        assert_eq!(world.sink.kinds("all", &job), ["job.completed"]);
    }
    assert_eq!(world.polled_at("hung").len(), 1, "it is under way once");
    let stuck = |received: &Received| received.job == "stuck";
    let requests = world.sink.requests("all");
    assert_eq!(requests.iter().filter(|each| stuck(each)).count(), 1);
    // What was under way ends by its own timeout, and goes on under the new settings.
    world.control().clear_faults();
    world.until_ended(HOUR).await;
    assert_eq!(world.sink.kinds("all", "hung"), ["job.completed"]);
    assert_eq!(world.sink.kinds("all", "stuck"), ["job.completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_taken_out_is_sent_nothing_and_goes_on_in_order_when_it_is_back() {
    let all = "events = [\"*\"]";
    let other = webhook("other", all);
    let mut world = delivering_world(all, &other).await;
    world.sink.reply_in_turn("other", &[(HANG, "")]);
    world
        .follow(
            "j",
            &[(0, &[("a", "pending")]), (60_000, &[("a", "success")])],
        )
        .await;
    world.pass(SECOND).await;
    world.more.clear();
    world.reload();
    world.pass(2 * MINUTE).await;
    assert_eq!(world.sink.requests("other").len(), 1, "the one under way");
    assert_eq!(world.sink.accepted("all").len(), 3);
    world.more = other;
    world.reload();
    world.pass(MINUTE).await;
    let sequences = |world: &World| -> Vec<u64> {
        let accepted = world.sink.accepted("other");
        accepted.iter().map(|each| each.sequence).collect()
    };
    // What happened while it was not configured was never meant for it.
    assert_eq!(sequences(&world), [1]);
    done(&mut world, "k").await;
    world.until_ended(MINUTE).await;
    assert_eq!(sequences(&world), [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn limits_and_delays_of_a_reload_are_those_of_the_next_poll() {
    let mut world = World::new().await;
    world.more = "[polling]\nmax_delay = \"2h\"\ninitial_delay = \"2h\"\nerror_max_delay = \"2h\"\ndeadline = \"10d\"".to_owned();
    world.start().await;
    for job in ["a", "b"] {
        world.follow(job, &[(0, &[("a", "pending")])]).await;
    }
    world.pass(MINUTE).await;
    let polls = |world: &World| world.polled_at("a").len();
    assert_eq!(polls(&world), 1);
    // The next poll is two hours away, and stays there: it may be no later than the new settings allow.
    world.more = "[polling]\nqueued_delay = \"10m\"\ndeadline = \"3h\"".to_owned();
    world.reload();
    world.pass(2 * HOUR).await;
    let since = polls(&world);
    assert!(since > 1);
    world.pass(10 * MINUTE).await;
    assert!(polls(&world) >= since + 15, "every thirty seconds by now");
    world.pass(HOUR).await;
    let states = world
        .rows("SELECT DISTINCT json_extract(failure, '$.kind') FROM jobs")
        .await;
    assert_eq!(states, [["expired"]], "by the new deadline");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_name_a_webhook_are_counted_anew_when_it_appears_or_goes() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.make("j", &[(0, &[("a", "pending")])]);
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('j', 'late')")
        .await;
    world.pass(SECOND).await;
    let unknown =
        async |world: &mut World| world.get("/readyz").await.1["jobs_with_unknown_webhook"].clone();
    assert_eq!(unknown(&mut world).await, 1);
    world.more = webhook("late", "");
    world.reload();
    world.pass(SECOND).await;
    assert_eq!(unknown(&mut world).await, 0);
    world.more.clear();
    world.reload();
    world.pass(SECOND).await;
    assert_eq!(unknown(&mut world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_requests_no_token_and_sends_no_poll_before_its_turn() {
    let mut world = World::new().await;
    world.upstream.push_str("\nrequests_per_second = 1");
    world.start().await;
    for job in 0..100 {
        world
            .follow(&format!("j{job}"), &[(0, &[("a", "pending")])])
            .await;
    }
    world.pass(2 * SECOND).await;
    let polls = |world: &World| world.control().requests().len() - world.tokens_asked_at().len();
    let before = polls(&world);
    for _ in 0..20 {
        world.reload();
        world.pass(SECOND / 2).await;
    }
    let during = polls(&world) - before;
    assert!((9..=11).contains(&during), "{during} polls in ten seconds");
    assert_eq!(world.tokens_asked_at().len(), 1);
    // The new rate counts from the last poll on.
    world.upstream = world.upstream.replace("= 1", "= 10");
    world.reload();
    world.pass(SECOND).await;
    assert!((9..=11).contains(&(polls(&world) - before - during)));
}
