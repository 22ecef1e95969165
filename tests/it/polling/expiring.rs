//! Deadlines: no job expires without a last look, and none because the clock was set for a moment.

use std::time::Duration;

use jobtrackd::simulator::{Fault, FaultRule, NewJob, Phase, RetryAfter, Script, Step};

use super::ends::{assert_failed, failure};
use super::{MINUTE, SECOND, endless};
use crate::support::world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// Follows a job with a deadline so many milliseconds after the start.
async fn with_deadline(world: &mut World, id: &str, deadline: i64) {
    let at = world.epoch.0 + deadline;
    let sql = format!("INSERT INTO jobs (id, deadline_at) VALUES ('{id}', {at})");
    world.sql(&sql).await;
}

async fn state(world: &World, id: &str) -> String {
    let sql = format!("SELECT state FROM jobs WHERE id = '{id}'");
    world.value(&sql).await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_job_that_a_last_look_does_not_show_ended() {
    let mut world = World::running().await;
    let now = world.clock.now().0;
    for (id, deadline) in [
        ("soon", now + 30_000),
        ("past", now - 1),
        ("long-past", 1_000_000_000_000),
        ("far", i64::MAX),
        ("moved", now + 3_600_000),
        ("eased", now + 20_000),
    ] {
        world.make(id, &[(0, &[("a", "in-progress")])]);
        with_deadline(&mut world, id, deadline - now).await;
    }
    world.pass(10 * SECOND).await;
    let sooner = format!(
        "UPDATE jobs SET deadline_at = {} WHERE id = 'moved'",
        now + 40_000
    );
    world.sql(&sooner).await;
    world
        .sql("UPDATE jobs SET deadline_at = NULL WHERE id = 'eased'")
        .await;
    world.pass(MINUTE).await;
    for (id, at) in [
        ("soon", 30_000),
        ("moved", 40_000),
        ("past", 0),
        ("long-past", 0),
    ] {
        assert_failed(&world, id, "expired", at).await;
        let last = world.polled_at(id).pop().unwrap();
        assert!(
            (0..=100).contains(&(last - at)),
            "{id}: the last look at {last}"
        );
    }
    assert_eq!(world.polled_at("past").len(), 1, "one look, and no more");
    let rest = world
        .rows("SELECT id, state FROM jobs WHERE failure IS NULL ORDER BY id")
        .await;
    assert_eq!(rest, [["eased", "in-progress"], ["far", "in-progress"]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_of_its_own_a_job_has_the_configured_one() {
    let mut world = World::running_with("[polling]\ndeadline = \"2h\"").await;
    endless(&mut world, &["j"]).await;
    world.pass(2 * HOUR - MINUTE).await;
    assert_eq!(state(&world, "j").await, "in-progress");
    world.pass(2 * MINUTE).await;
    assert_eq!(failure(&world, "j").await["kind"], "expired");
    let age = "SELECT finished_at - created_at FROM jobs";
    let age: i64 = world.value(age).await.parse().unwrap();
    // The row was dated by SQLite, up to a second later than this world's clock.
    assert!((age - 2 * 3_600_000).abs() < 1100, "{age}");
}

#[tokio::test(start_paused = true)]
async fn what_the_last_look_shows_counts_however_far_off_the_next_poll_was() {
    let far = "[polling]\ninitial_delay = \"6h\"\nmax_delay = \"6h\"\nerror_max_delay = \"6h\"";
    let mut world = World::running_with(far).await;
    let ends = |status: &str| vec![Step::new("a", "success"), Step::new("b", status)];
    for (id, end) in [
        ("done", "success"),
        ("failed", "failed"),
        ("open", "in-progress"),
    ] {
        let script = Script::new(vec![
            Phase::steps(0, &ends("in-progress")),
            Phase::steps(60_000, &ends(end)),
        ]);
        world
            .control()
            .create(NewJob::scripted(script).with_id(id))
            .unwrap();
        with_deadline(&mut world, id, 120_000).await;
    }
    // One waits in the API's queue, two hours from its next poll.
    let queued = r#"{"type":"job","id":"queued","steps":[{"title":"a","status":"pending","result":{"code":"temporary-unavailable-queued"}}]}"#;
    let done =
        r#"{"type":"job","id":"queued","steps":[{"title":"a","status":"success","result":null}]}"#;
    world.tell(
        "queued",
        vec![Phase::verbatim(0, queued), Phase::verbatim(60_000, done)],
    );
    with_deadline(&mut world, "queued", 120_000).await;
    world.until_ended(3 * MINUTE).await;
    for (id, end) in [
        ("done", "success"),
        ("queued", "success"),
        ("failed", "failed"),
        ("open", "failed"),
    ] {
        assert_eq!(state(&world, id).await, end, "{id}");
        assert_eq!(world.polled_at(id).len(), 2, "{id}");
    }
    assert_eq!(failure(&world, "failed").await["kind"], "step");
    assert_eq!(failure(&world, "open").await["kind"], "expired");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_while_the_daemon_was_down_is_seen_to_have_ended() {
    let mut world = World::running().await;
    for id in ["done", "open"] {
        let end = if id == "done" {
            "success"
        } else {
            "in-progress"
        };
        world.make(id, &[(0, &[("a", "in-progress")]), (60_000, &[("a", end)])]);
        with_deadline(&mut world, id, 120_000).await;
    }
    world.pass(10 * SECOND).await;
    world.stop().await;
    tokio::time::sleep(24 * HOUR).await;
    // It is away for a moment when the daemon comes up.
    let away = Fault::Status {
        status: 503,
        retry_after: None,
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(away).on_path("/jobs").times(2))
        .unwrap();
    world.start().await;
    world.until_ended(3 * MINUTE).await;
    assert_eq!(state(&world, "done").await, "success");
    assert_eq!(failure(&world, "open").await["kind"], "expired");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_cannot_be_had_is_waited_for_five_minutes() {
    let mut world = World::running().await;
    for id in ["hung", "throttled", "broken", "late"] {
        world.make(id, &[(0, &[("a", "in-progress")])]);
        with_deadline(&mut world, id, 60_000).await;
    }
    world.make("held", &[(0, &[("a", "success")])]);
    let (deadline, held) = (world.epoch.0 + 60_000, world.epoch.0 + 3_600_000);
    let sql = format!(
        "INSERT INTO jobs (id, deadline_at, not_before) VALUES ('held', {deadline}, {held})"
    );
    world.sql(&sql).await;
    world.pass(50 * SECOND).await;
    let answers = |status, retry_after| Fault::Status {
        status,
        retry_after,
        body: None,
    };
    let hour = Some(RetryAfter::Seconds(3600));
    for (id, fault) in [
        ("hung", Fault::Hang),
        ("throttled", answers(429, hour)),
        ("broken", answers(500, None)),
        ("late", answers(502, None)),
    ] {
        world
            .control()
            .inject(FaultRule::new(fault).on_job(id))
            .unwrap();
    }
    world.pass(4 * MINUTE).await;
    for id in ["hung", "throttled", "broken", "late"] {
        assert_eq!(state(&world, id).await, "in-progress", "{id}");
    }
    // Nobody can look at this one in time, so nobody waits.
    assert_failed(&world, "held", "expired", 60_000).await;
    let tries = world
        .polled_at("broken")
        .iter()
        .filter(|at| **at >= 60_000)
        .count();
    assert!((10..=25).contains(&tries), "{tries} tries");
    world.control().clear_faults();
    world.pass(SECOND).await;
    let faults = answers(500, None);
    for id in ["hung", "throttled", "broken"] {
        let fault = FaultRule::new(faults.clone()).on_job(id);
        world.control().inject(fault).unwrap();
    }
    world.pass(MINUTE).await;
    assert_eq!(
        failure(&world, "late").await["kind"],
        "expired",
        "it was looked at"
    );
    world.pass(15 * SECOND).await;
    let throttled = world.polled_at("throttled").into_iter();
    assert_eq!(
        throttled.filter(|at| *at > 60_000).count(),
        0,
        "it asked for an hour"
    );
    for id in ["hung", "throttled", "broken"] {
        assert_failed(&world, id, "expired", 360_000).await;
        let detail = failure(&world, id).await["detail"].to_string();
        assert!(
            detail.contains("there was no answer after that"),
            "{id}: {detail}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_for_two_seconds_ends_no_job() {
    for ahead in [400 * 24 * 3_600_000_i64, -400 * 24 * 3_600_000] {
        let mut world = World::running().await;
        endless(&mut world, &["open"]).await;
        with_deadline(&mut world, "absent", 3_600_000).await;
        world.pass(MINUTE).await;
        assert_eq!(state(&world, "absent").await, "pending", "within its grace");
        world.clock.set_ahead(ahead);
        world.pass(2 * SECOND).await;
        world.clock.set_ahead(-ahead);
        world.pass(SECOND).await;
        let unfinished = world
            .value("SELECT count(*) FROM jobs WHERE finished_at IS NULL")
            .await;
        assert_eq!(unfinished, "2", "{ahead}");
        world.pass(10 * MINUTE).await;
        assert_eq!(state(&world, "open").await, "in-progress", "{ahead}");
        assert_eq!(
            failure(&world, "absent").await["kind"],
            "not_found",
            "{ahead}"
        );
        let gaps = world
            .polled_at("open")
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max();
        assert!(gaps.unwrap() < 40_000, "polls go on: {gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stays_is_believed_after_five_minutes() {
    let mut world = World::running().await;
    endless(&mut world, &["open"]).await;
    let wake = world.epoch.0 + 30 * 3_600_000;
    world.make("held", &[(0, &[("a", "success")])]);
    world
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) VALUES ('held', {wake})"
        ))
        .await;
    world.make("back", &[(0, &[("a", "success")])]);
    world.pass(MINUTE).await;
    world.clock.set_ahead(31 * 3_600_000);
    world.pass(MINUTE).await;
    assert_eq!(state(&world, "held").await, "success", "its time has come");
    with_deadline(&mut world, "gone", 3_600_000).await;
    let polls = world.polled_at("open").len();
    world
        .sql(&format!(
            "UPDATE jobs SET deadline_at = {wake} WHERE id = 'open'"
        ))
        .await;
    world.pass(3 * MINUTE).await;
    assert_eq!(state(&world, "open").await, "in-progress");
    assert!(world.polled_at("open").len() > polls);
    world.pass(3 * MINUTE).await;
    assert_eq!(failure(&world, "open").await["kind"], "expired");
    // Put right again: what was to wait for a time of day waits for the one that is.
    let later = world.clock.now().0 + 60_000;
    world
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) VALUES ('back', {later})"
        ))
        .await;
    world.pass(SECOND).await;
    world.clock.set_ahead(-3_600_000);
    world.pass(30 * MINUTE).await;
    assert!(world.polled_at("back").is_empty());
    world.pass(32 * MINUTE).await;
    assert_eq!(state(&world, "back").await, "success");
}
