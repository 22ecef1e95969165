//! An upstream in trouble delays jobs, says why, and ends none of them.

use jobtrackd::simulator::{Fault, FaultRule, RetryAfter};

use super::{MINUTE, SECOND, assert_gaps, endless, gaps};
use crate::support::world::World;

fn status(status: u16, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        status,
        retry_after,
        body: None,
    }
}

fn body(body: &str) -> Fault {
    Fault::Status {
        status: 200,
        retry_after: None,
        body: Some(body.to_owned()),
    }
}

/// Faults that are no fault of the job, each with a word that the row shows.
fn faults() -> Vec<(&'static str, Fault, &'static str)> {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    vec![
        ("s500", status(500, None), "500"),
        ("s503", status(503, None), "503"),
        ("s418", status(418, None), "418"),
        ("html", Fault::Html, "502"),
        ("reset", Fault::Reset { after_bytes: 10 }, ""),
        ("truncated", Fault::Truncated, "rubbish"),
        (
            "redirect",
            Fault::Redirect {
                to: "/token".to_owned(),
                status: None,
            },
            "redirect",
        ),
        (
            "wrong",
            Fault::WrongId {
                id: "other".to_owned(),
            },
            "another job",
        ),
        ("empty", Fault::Empty, "rubbish"),
        (
            "large",
            Fault::Padded {
                bytes: (1 << 20) + 1,
            },
            "too_large",
        ),
        ("text", body("good morning"), "not JSON"),
        ("list", body("[]"), "rubbish"),
        ("kind", body(r#"{"type":"list","data":[]}"#), "rubbish"),
        (
            "steps",
            body(r#"{"type":"job","steps":{"a":1}}"#),
            "rubbish",
        ),
        (
            "deep",
            body(&format!(r#"{{"type":"job","steps":[],"x":{deep}}}"#)),
            "rubbish",
        ),
        ("s403", status(403, None), "403"),
    ]
}

#[tokio::test(start_paused = true)]
async fn rubbish_of_every_kind_is_tried_again_with_a_backoff_of_its_own() {
    let mut world = World::running().await;
    let faults = faults();
    for (id, fault, _) in &faults {
        world.make(
            id,
            &[(0, &[("a", "in-progress")]), (60_000, &[("a", "success")])],
        );
        world
            .control()
            .inject(FaultRule::new(fault.clone()).on_job(*id).times(4))
            .unwrap();
        world.enqueue(id).await;
    }
    // Polls at 0, 1, 3 and 7 s bring the faults.
    world.pass(10 * SECOND).await;
    for (id, _, word) in &faults {
        let row = world
            .rows(&format!(
                "SELECT state, consecutive_errors, last_error, failure FROM jobs WHERE id = '{id}'"
            ))
            .await;
        assert_eq!(
            (row[0][0].as_str(), row[0][1].as_str(), row[0][3].as_str()),
            ("pending", "4", "-"),
            "{row:?}"
        );
        assert!(row[0][2].contains(word), "{id}: {}", row[0][2]);
    }
    assert!(world.sink.received().is_empty());
    world.until_ended(3 * MINUTE).await;
    let ended = world
        .value("SELECT count(*) FROM jobs WHERE state = 'success' AND consecutive_errors = 0")
        .await;
    assert_eq!(ended, faults.len().to_string());
    for (id, _, _) in &faults {
        assert_gaps(&world.polled_at(id), &[1000, 2000, 4000, 8000, 1000]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_backoff_ends_at_error_max_delay_and_a_success_makes_it_start_anew() {
    let mut world = World::running_with("[polling]\nerror_max_delay = \"10s\"").await;
    let fault = FaultRule::new(status(500, None)).on_job("j");
    world.control().inject(fault.clone().times(6)).unwrap();
    endless(&mut world, &["j"]).await;
    world.pass(40 * SECOND).await;
    let times = world.polled_at("j");
    assert_gaps(&times, &[1000, 2000, 4000, 8000, 10_000, 10_000]);
    let row = world
        .rows("SELECT consecutive_errors, polls FROM jobs")
        .await;
    assert_eq!(row, [["0".to_owned(), times.len().to_string()]]);
    world.control().inject(fault.times(2)).unwrap();
    world.pass(MINUTE).await;
    let later = &world.polled_at("j")[times.len()..];
    assert_gaps(later, &[1000, 2000]);
}

#[tokio::test(start_paused = true)]
async fn errors_show_in_the_row_within_two_seconds() {
    let mut world = World::running().await;
    endless(&mut world, &["j"]).await;
    world.pass(MINUTE).await;
    let struck = FaultRule::new(status(500, None)).on_job("j");
    world.control().inject(struck).unwrap();
    world.sql("UPDATE jobs SET poll_requested = 1").await;
    world.pass(2 * SECOND).await;
    let row = world
        .rows("SELECT consecutive_errors > 0, last_error LIKE '%500%' FROM jobs")
        .await;
    assert_eq!(row, [["1", "1"]]);
    world.control().clear_faults();
    world.sql("UPDATE jobs SET poll_requested = 1").await;
    world.pass(2 * SECOND).await;
    assert_eq!(
        world.value("SELECT consecutive_errors FROM jobs").await,
        "0"
    );
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_ends_with_its_timeout_and_is_tried_again() {
    let mut world = World::new().await;
    world.upstream.push_str("\ntimeout = \"7s\"");
    world.start().await;
    let hang = FaultRule::new(Fault::Hang).on_job("hung").times(1);
    world.control().inject(hang).unwrap();
    endless(&mut world, &["hung", "well"]).await;
    world.pass(9 * SECOND).await;
    assert_gaps(&world.polled_at("hung"), &[8000]);
    assert!(world.polled_at("well").len() > 3, "others go on");
    let row = world
        .rows("SELECT last_error, polls FROM jobs WHERE id = 'hung'")
        .await;
    assert!(row[0][0].contains("timeout"), "{row:?}");
    assert_eq!(row[0][1], "2");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_exactly_one_mebibyte_is_taken() {
    let mut world = World::running().await;
    let padded = FaultRule::new(Fault::Padded { bytes: 1 << 20 });
    world.control().inject(padded.on_job("j")).unwrap();
    endless(&mut world, &["j"]).await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "in-progress")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_stops_every_poll_to_its_last_millisecond() {
    let cases = [
        (429, RetryAfter::Seconds(60), 60_000),
        (503, RetryAfter::Seconds(60), 60_000),
        (429, RetryAfter::DateInSeconds(60), 60_000),
        (503, RetryAfter::DateInSeconds(60), 60_000),
    ];
    for (code, retry_after, pause) in cases {
        let mut world = World::running().await;
        endless(&mut world, &["a", "b", "c"]).await;
        world.pass(10 * SECOND).await;
        let case = format!("{code} {retry_after:?}");
        let by_date = matches!(retry_after, RetryAfter::DateInSeconds(_));
        let fault = FaultRule::new(status(code, Some(retry_after)))
            .on_job("a")
            .times(1);
        world.control().inject(fault).unwrap();
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'a'")
            .await;
        let struck_at = *world.polled_at("a").last().unwrap();
        let struck_at = if struck_at < 10_000 {
            world.pass(SECOND / 2).await;
            *world.polled_at("a").last().unwrap()
        } else {
            struck_at
        };
        // A date has whole seconds only.
        let ends = if by_date {
            (struck_at + pause) / 1000 * 1000
        } else {
            struck_at + pause
        };
        // While the gate is closed a new row and a request change nothing.
        endless(&mut world, &["new"]).await;
        world.sql("UPDATE jobs SET poll_requested = 1").await;
        world.pass(2 * MINUTE).await;
        let log = world.control().requests();
        let after: Vec<i64> = log
            .iter()
            .map(|r| r.at.0 - world.epoch.0)
            .filter(|at| *at > struck_at)
            .collect();
        assert!(
            after[0] >= ends && after[0] <= ends + pause / 10 + 50,
            "{case}: {} after {ends}",
            after[0]
        );
        for id in ["a", "b", "c", "new"] {
            assert!(
                world.polled_at(id).iter().any(|at| *at >= ends),
                "{case}: {id} goes on"
            );
        }
        assert_eq!(
            world
                .value("SELECT count(*) FROM jobs WHERE state = 'in-progress'")
                .await,
            "4"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_one_poll_goes_ahead_of_the_others() {
    let mut world = World::running().await;
    endless(&mut world, &["a", "b", "c", "d"]).await;
    world.pass(10 * SECOND).await;
    let fault = FaultRule::new(status(429, Some(RetryAfter::Seconds(30)))).on_path("/jobs");
    world.control().inject(fault).unwrap();
    let before = world.control().requests().len();
    world.pass(5 * MINUTE).await;
    let log = world.control().requests();
    let times: Vec<i64> = log[before..].iter().map(|r| r.at.0).collect();
    let waves = gaps(&times)
        .into_iter()
        .filter(|gap| *gap >= 30_000)
        .count();
    assert!((8..=10).contains(&waves), "{times:?}");
    assert!(
        times.len() <= waves + 4,
        "more than one per pause: {times:?}"
    );
    let (code, ready) = world.get("/readyz").await;
    assert_eq!((code, ready["status"].as_str()), (200, Some("degraded")));
    assert!(!ready["reasons"].as_array().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_429_that_does_not_say_for_how_long_grows_from_one_second() {
    let mut world = World::running().await;
    let fault = FaultRule::new(status(429, None)).on_path("/jobs").times(5);
    world.control().inject(fault).unwrap();
    endless(&mut world, &["a"]).await;
    world.pass(MINUTE).await;
    let found = gaps(&world.polled_at("a"));
    for (gap, pause) in found.iter().zip([1000, 2000, 4000, 8000, 16_000]) {
        assert!(
            *gap >= pause && *gap <= pause + pause / 10 + 50,
            "{found:?}"
        );
    }
}
