//! An upstream in trouble delays jobs, says why, and ends none of them.

use jobtrackd::simulator::{Fault, FaultRule, RetryAfter};

use super::{MINUTE, SECOND, assert_gaps, endless};
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
        ("truncated", Fault::Truncated, "unusable"),
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
        ("empty", Fault::Empty, "unusable"),
        (
            "large",
            Fault::Padded {
                bytes: (1 << 20) + 1,
            },
            "too_large",
        ),
        ("text", body("good morning"), "not JSON"),
        ("list", body("[]"), "unusable"),
        ("kind", body(r#"{"type":"list","data":[]}"#), "unusable"),
        (
            "steps",
            body(r#"{"type":"job","steps":{"a":1}}"#),
            "unusable",
        ),
        (
            "deep",
            body(&format!(r#"{{"type":"job","steps":[],"x":{deep}}}"#)),
            "unusable",
        ),
        ("s403", status(403, None), "403"),
    ]
}

#[tokio::test(start_paused = true)]
async fn unusable_answers_of_every_kind_are_tried_again_with_a_backoff_of_its_own() {
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
async fn a_login_page_for_everything_is_said_by_readyz_and_in_the_log_and_ends_nothing() {
    for (status, page) in [(200, "<!doctype html>"), (404, "<html>"), (403, "<html>")] {
        let mut world = World::running().await;
        endless(&mut world, &["a", "b", "c", "d"]).await;
        world.pass(10 * SECOND).await;
        assert_eq!(world.get("/readyz").await.1["status"], "ok");
        let login = Fault::Status {
            status,
            retry_after: None,
            body: Some(page.to_owned()),
        };
        let login = FaultRule::new(login).on_path("/jobs");
        world.control().inject(login).unwrap();
        world.pass(MINUTE).await;
        let (code, ready) = world.get("/readyz").await;
        assert_eq!((code, ready["status"].as_str()), (200, Some("degraded")));
        let reason = ready["reasons"][0].as_str().unwrap();
        let says = format!("the upstream gives no usable answers: HTTP {status}");
        assert!(reason.starts_with(&says), "{reason}");
        world.pass(10 * MINUTE).await;
        let well =
            "SELECT count(*) FROM jobs WHERE state = 'in-progress' AND consecutive_errors > 5";
        assert_eq!(world.value(well).await, "4", "{status}");
        world.control().clear_faults();
        world.pass(6 * MINUTE).await;
        assert_eq!(world.get("/readyz").await.1["status"], "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn one_or_two_jobs_with_pages_for_answers_are_not_the_upstreams_trouble() {
    let mut world = World::running().await;
    for bad in ["x", "y"] {
        let page = FaultRule::new(body("<html>")).on_job(bad);
        world.control().inject(page).unwrap();
    }
    endless(&mut world, &["x", "y"]).await;
    world.pass(30 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.1["status"], "ok");
    endless(&mut world, &["good"]).await;
    world.pass(MINUTE).await;
    assert_eq!(world.get("/readyz").await.1["status"], "ok");
}

#[tokio::test(start_paused = true)]
async fn the_page_of_a_proxy_fails_no_job_whatever_its_status() {
    for code in [400, 404, 410] {
        let mut world = World::running_with("[polling]\nnot_found_grace = \"5s\"").await;
        let ids: Vec<String> = (0..20).map(|n| format!("j{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let page = Fault::Status {
            status: code,
            retry_after: None,
            body: Some("<html><center>nginx</center></html>".to_owned()),
        };
        let page = FaultRule::new(page).on_path("/jobs");
        world.control().inject(page).unwrap();
        endless(&mut world, &ids).await;
        world.pass(MINUTE).await;
        let open = "SELECT count(*) FROM jobs WHERE state = 'pending' AND last_error LIKE 'foreign: HTTP 4%'";
        assert_eq!(world.value(open).await, "20", "{code}");
        world.control().clear_faults();
        let read = "SELECT count(*) FROM jobs WHERE state = 'in-progress'";
        world.until(5 * MINUTE, read, "20").await;
        assert_eq!(world.sink.kinds("all", "j0"), ["job.step_changed"]);
    }
}
