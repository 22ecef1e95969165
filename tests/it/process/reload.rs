//! SIGHUP: new settings while work goes on.

use rustix::process::Signal;

use super::house::{House, get};
use super::program::Program;
use crate::support::waiting::until;

const TAKEN: &str = "the configuration was read again";
const REFUSED: &str = "the configuration was refused; the old one stays in use";
const RESTART: &str = "this setting has changed and needs a restart";

async fn reload(program: &Program, times: usize) {
    program.signal(Signal::HUP);
    program.says_again(TAKEN, times).await;
}

#[tokio::test]
async fn a_new_webhook_gets_its_events_and_no_event_is_lost_or_doubled_by_reloads() {
    let mut house = House::new().await;
    let program = house.running().await;
    // They change all the time, and end when they are cancelled, however long the reloads take.
    let words = [[("a", "in-progress")], [("a", "pending")]];
    let phases = (0..).step_by(60).zip(words.iter().cycle());
    let phases = phases.map(|(at, steps)| (at, &steps[..]));
    let phases: Vec<(u64, &[(&str, &str)])> = phases.take(200).collect();
    for job in 0..6 {
        house.follow(&job.to_string(), &phases).await;
    }
    until("events", || house.sink.received().len() > 6).await;
    reload(&program, 1).await;
    house.webhook("second");
    reload(&program, 2).await;
    let before = house.sink.received().len();
    until("events", || house.sink.received().len() > before).await;
    reload(&program, 3).await;
    house.sql("UPDATE jobs SET cancel_requested = 1").await;
    house.until_ended().await;
    program.stop().await;

    let recorded = "SELECT job_id, sequence, id FROM events ORDER BY job_id, sequence";
    let recorded = house.rows(recorded).await;
    let delivered = |webhook: &str| {
        let mut delivered: Vec<_> = house
            .sink
            .received()
            .iter()
            .filter(|each| each.hook == webhook)
            .map(|each| (each.job.as_str().to_owned(), each.sequence, each.id.clone()))
            .collect();
        // Stable: within a job the order of arrival stays.
        delivered.sort_by(|one, other| one.0.cmp(&other.0));
        delivered
            .into_iter()
            .map(|(job, sequence, id)| vec![job, sequence.to_string(), id])
            .collect::<Vec<_>>()
    };
    assert_eq!(delivered("all"), recorded, "each once, in order");
    let second = delivered("second");
    assert!(!second.is_empty() && second.len() < recorded.len());
    assert!(second.iter().all(|each| recorded.contains(each)));
    let ends = house.sink.received();
    let ends = ends
        .iter()
        .filter(|each| each.hook == "second" && each.event == "job.failed");
    assert_eq!(ends.count(), 6);
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_error_and_the_old_settings_stay() {
    let mut house = House::new().await;
    let program = house.running().await;
    let status = program.ready().await;
    house.set("polling", "intial_delay", "1s");
    program.signal(Signal::HUP);
    let line = program.says(REFUSED).await;
    assert!(
        line.contains("did you mean polling.initial_delay?"),
        "{line}"
    );
    std::fs::write(house.file(), "[polling\n").unwrap();
    program.signal(Signal::HUP);
    program.says_again(REFUSED, 2).await;
    std::fs::remove_file(house.file()).unwrap();
    program.signal(Signal::HUP);
    program.says_again(REFUSED, 3).await;

    assert_eq!(get(&status, "/readyz").await.unwrap().0, 200);
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    assert_eq!(
        house.sink.kinds("all", "1"),
        ["job.step_changed", "job.completed"]
    );
    program.stop().await;
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_each_time_and_keep_their_value() {
    let mut house = House::new().await;
    let (url, other) = (house.database(), house.path("other.db"));
    let program = house.running().await;
    let status = program.ready().await;
    house.set("database", "url", &format!("sqlite://{}", other.display()));
    house.set("status", "listen", "127.0.0.1:1");
    house.set("log", "format", "text");
    for times in 1..=2 {
        reload(&program, times).await;
        let text = program.text();
        let named = text.lines().filter(|line| line.contains(RESTART));
        assert_eq!(named.count(), 3 * times, "{text}");
        for key in ["database.url", "status.listen", "log.format"] {
            let named = text
                .lines()
                .filter(|line| line.contains(&format!("\"key\":\"{key}\"")));
            assert_eq!(named.count(), times, "{text}");
        }
    }
    assert!(!other.exists());
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    assert_eq!(get(&status, "/jobs/1").await.unwrap().0, 200);

    house.set("database", "url", &format!("sqlite://{}", url.display()));
    house.set("status", "listen", "127.0.0.1:0");
    house.set("log", "format", "auto");
    reload(&program, 3).await;
    let text = program.text();
    assert_eq!(text.matches(RESTART).count(), 6, "as at the start: {text}");
    program.stop().await;
}

#[tokio::test]
async fn the_log_level_is_taken_at_once() {
    let mut house = House::new().await;
    let program = house.running().await;
    house.set("log", "level", "jobtrackd=debug");
    reload(&program, 1).await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    program.says("job changed").await;
    program.stop().await;
}
