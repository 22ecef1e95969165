//! Being delivered to stop: what is in flight is finished, and nobody waits longer than he has to.

use jobtrackd::simulator::{Fault, FaultRule};
use rustix::process::Signal;

use super::house::House;
use crate::support::waiting::until;

#[tokio::test]
async fn an_idle_daemon_stops_at_once_on_either_signal() {
    let house = House::new().await;
    for signal in [Signal::TERM, Signal::INT] {
        let program = house.running().await;
        program.signal(signal);
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(0), "{signal:?}: {}", ended.text);
        assert!(!ended.text.contains("given back"), "{}", ended.text);
        assert!(!ended.text.contains("ERROR"), "{}", ended.text);
    }
}

#[tokio::test]
async fn a_poll_in_flight_is_finished_and_recorded_before_the_end() {
    let house = House::new().await;
    house.delay("slow", 300);
    let program = house.running().await;
    house.follow("slow", &[(0, &[("a", "success")])]).await;
    until("the poll", || house.asked("slow") == 1).await;
    program.stop().await;
    assert_eq!(
        house.rows("SELECT state, polls FROM jobs").await,
        [["success", "1"]]
    );
    // Nothing new was begun: the event waits for the next start.
    assert_eq!(house.sink.received().len(), 0);
    let program = house.running().await;
    house.until_ended().await;
    assert_eq!(
        house.sink.kinds("all", "slow"),
        ["job.step_changed", "job.completed"]
    );
    program.stop().await;
}

#[tokio::test]
async fn an_attempt_in_flight_is_finished_and_recorded_before_the_end() {
    let house = House::new().await;
    let program = house.running().await;
    house.sink.hold(true);
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("the attempt", || house.sink.received().len() == 1).await;
    program.signal(Signal::TERM);
    program.says("stopping").await;
    house.sink.hold(false);
    assert_eq!(program.ended().await.code, Some(0));
    assert_eq!(
        house.rows("SELECT state, attempts FROM deliveries").await,
        [["delivered", "1"]]
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_not_as_if_all_were_well() {
    let house = House::new().await;
    house
        .control()
        .inject(FaultRule::new(Fault::Hang).on_job("hung"))
        .unwrap();
    house.migrate().await;
    house.sql("INSERT INTO jobs (id) VALUES ('hung')").await;
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let before = house.asked("hung");
        let program = house.running().await;
        until("the poll", || house.asked("hung") > before).await;
        program.signal(first);
        program.says("stopping").await;
        program.signal(second);
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        assert!(ended.text.contains("a second signal"), "{}", ended.text);
    }
    // Nothing is lost by that.
    house.control().clear_faults();
    house.make("hung", &[(0, &[("a", "success")])]);
    let program = house.running().await;
    house.until_ended().await;
    program.stop().await;
}

#[tokio::test]
async fn a_daemon_that_still_waits_to_start_can_be_stopped() {
    let house = House::new().await;
    house.migrate().await;
    let mut writer = house.outsider().await;
    sqlx::raw_sql("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .execute(&mut writer)
        .await
        .unwrap();
    let program = house.run();
    until("the lock file", || house.path("jobs.db.lock").exists()).await;
    program.stop().await;
}

#[tokio::test]
async fn a_process_that_stood_still_goes_on_where_it_was() {
    let house = House::new().await;
    let program = house.running().await;
    house.delay("1", 20);
    house
        .follow(
            "1",
            &[(0, &[("a", "in-progress")]), (200, &[("a", "success")])],
        )
        .await;
    until("the poll", || house.asked("1") == 1).await;
    program.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", program.pid);
    let stopped = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
    until("it stands still", stopped).await;
    house.follow("2", &[(0, &[("a", "success")])]).await;
    program.signal(Signal::CONT);
    house.until_ended().await;
    let kinds = house.sink.kinds("all", "2");
    assert_eq!(kinds, ["job.step_changed", "job.completed"]);
    program.stop().await;
}
