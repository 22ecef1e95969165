use serde_json::{Value, json};

use super::page::{Frame, draw};
use crate::cli::tests::fixture::{Followed, later, step, view};
use crate::cli::text;
use crate::core::job::{FailureKind, JobId};
use crate::store::{DeliveryCounts, JobProgress, Overview};

const NOTHING: Value = Value::Null;

fn progress(job: Followed, deliveries: DeliveryCounts) -> JobProgress {
    let detail = job.detail;
    let last = detail.transitions.last();
    JobProgress {
        last_seq: last.map_or(0, |last| last.seq),
        changed_at: last.map_or(detail.summary.row.created_at, |last| last.observed_at),
        summary: detail.summary,
        deliveries,
    }
}

fn steps(first: &str, second: &str) -> [Value; 2] {
    [
        step("verify-credentials", first, &NOTHING),
        step("retrieve-accounts", second, &NOTHING),
    ]
}

/// One that runs, one in trouble, one that asks, one that nobody has seen, one that failed and one that succeeded.
fn all_kinds() -> Vec<JobProgress> {
    let mut running = Followed::of("61723");
    running.seen(1.0, &steps("success", "in-progress"));
    running.detail.summary.row.next_poll_at = Some(later(21.0));

    let mut troubled = Followed::of("61724");
    troubled.seen(2.0, &steps("in-progress", "pending"));
    let row = &mut troubled.detail.summary.row;
    row.progress.consecutive_errors = 3;
    row.progress.last_error = Some("status: 500\u{1b}[2J Internal Server Error".to_owned());
    row.next_poll_at = Some(later(75.0));

    let mfa = json!({"type": "mfa", "method": "token"});
    let mut asking = Followed::of("0ebd2a1c-7f5e-4bd5-9e65-53a4e1ee6bd1");
    asking.seen(3.0, &[step("mfa-challenge", "in-progress", &mfa)]);
    asking.detail.summary.row.cancel_requested = true;

    let mut failed = Followed::of("61725");
    let error = json!({"code": "invalid-credentials", "title": "Cannot login"});
    failed.seen(4.0, &[step("verify-credentials", "failed", &error)]);
    let mut expired = Followed::of("61726");
    expired.ended(5.0, FailureKind::Expired, "the deadline passed");
    let mut succeeded = Followed::of("61727");
    succeeded.seen(6.0, &steps("success", "skipped"));

    let deliveries = |delivered, pending, refused, exhausted| DeliveryCounts {
        delivered,
        pending,
        refused,
        exhausted,
        ..DeliveryCounts::default()
    };
    vec![
        progress(running, deliveries(4, 0, 0, 0)),
        progress(troubled, DeliveryCounts::default()),
        progress(asking, deliveries(3, 2, 1, 0)),
        progress(Followed::of("new"), DeliveryCounts::default()),
        progress(failed, deliveries(1, 0, 0, 1)),
        progress(expired, DeliveryCounts::default()),
        progress(succeeded, deliveries(7, 1, 0, 0)),
    ]
}

fn overview() -> Overview {
    Overview {
        running: 12,
        ended: 3,
        pending: 2,
        failing: vec!["audit\u{1b}".to_owned()],
        disabled: Vec::new(),
    }
}

fn page(jobs: &[JobProgress], width: usize, height: usize) -> String {
    let frame = Frame {
        jobs: jobs.to_vec(),
        overview: overview(),
        ..Frame::default()
    };
    draw(&frame, &view(width, 9.0), height).join("\n")
}

#[test]
fn the_screen_shows_how_far_each_job_is_what_it_waits_for_and_its_deliveries() {
    insta::assert_snapshot!(page(&all_kinds(), 120, 24), @r#"
    12 running, 3 ended in the last minute, 2 deliveries pending, 1 webhook failing: audit\u{1b}

      JOB                                                 STEP                                FOR  NEXT POLL     SENT
    ◐ 61723                                 ━━━━━━──────  1/2 retrieve-accounts in-progress    8s  in 12s        4✓
    ◐ 61724                                 ────────────  0/2 verify-credentials in-progress   7s  in 1m 6s
        status: 500\u{1b}[2J Internal Server Error (3 in a row)
    ◐ 0ebd2a1c-7f5e-4bd5-9e65-53a4e1ee6bd1  ────────────  0/1 mfa-challenge needs an answer    6s  cancelling    3✓ 1○ 1↻
    ○ new                                   ────────────  –                                    9s  due
    ✗ 61725                                 ────────────  invalid-credentials: Cannot login    4s  ended 5s ago  1✓ 1✗
    ✗ 61726                                 ────────────  expired: the deadline passed         5s  ended 4s ago
    ✓ 61727                                 ━━━━━━━━━━━━  2/2 success                          6s  ended 3s ago  7✓ 1○
    "#);
}

#[test]
fn a_narrow_terminal_shows_less_and_nothing_is_wider_than_it() {
    insta::assert_snapshot!(page(&all_kinds(), 60, 24), @r#"
    12 running, 3 ended in the last minute, 2 deliveries pendin…

      JOB             STEP                FOR  NEXT POLL
    ◐ 61723           1/2 in-progress      8s  in 12s
    ◐ 61724           0/2 in-progress      7s  in 1m 6s
        status: 500\u{1b}[2J Internal Server Error (3 in a row)
    ◐ 0ebd2a1c-7f5e…  0/1                  6s  cancelling
    ○ new             –                    9s  due
    ✗ 61725           invalid-credentia…   4s  ended 5s ago
    ✗ 61726           expired: the dead…   5s  ended 4s ago
    ✓ 61727           2/2 success          6s  ended 3s ago
    "#);
    for width in [30, 40, 50, 60, 70, 80, 100, 120, 160] {
        for line in page(&all_kinds(), width, 24).lines() {
            assert!(text::columns(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_low_terminal_shows_the_first_jobs_and_counts_the_others() {
    insta::assert_snapshot!(page(&all_kinds(), 80, 7), @r#"
    12 running, 3 ended in the last minute, 2 deliveries pending, 1 webhook failing…

      JOB                       STEP                     FOR  NEXT POLL     SENT
    ◐ 61723           ━━━━────  1/2 retrie… in-progress   8s  in 12s        4✓
    ◐ 61724           ────────  0/2 verify… in-progress   7s  in 1m 6s
        status: 500\u{1b}[2J Internal Server Error (3 in a row)
    … and 5 more
    "#);
    for height in 1..20 {
        let lines = page(&all_kinds(), 80, height).lines().count();
        assert!(lines <= height, "{height}: {lines}");
    }
}

#[test]
fn jobs_that_were_asked_for_are_counted_and_those_that_are_not_there_are_named() {
    let frame = Frame {
        ids: ["61725", "99"].map(|id| JobId::parse(id).unwrap()).into(),
        jobs: all_kinds().drain(4..5).collect(),
        overview: overview(),
        no_daemon: true,
    };
    insta::assert_snapshot!(draw(&frame, &view(100, 9.0), 24).join("\n"), @r#"
    1 of 2 jobs ended, not in the database: 99, 2 deliveries pending, 1 webhook failing: audit\u{1b}
    no daemon follows this database; start it with: systemctl start jobtrackd

      JOB                  STEP                               FOR  NEXT POLL     POLLS  SENT
    ✗ 61725  ────────────  invalid-credentials: Cannot login   4s  ended 5s ago      1  1✓ 1✗
    "#);
}

#[test]
fn nothing_from_outside_reaches_the_terminal_and_colours_only_when_wanted() {
    let evil = "\u{1b}[2J\u{202e}\u{9b}x";
    let mut job = Followed::of("1");
    job.seen(1.0, &[step(evil, evil, &NOTHING)]);
    job.detail.summary.row.progress.last_error = Some(evil.to_owned());
    job.detail.summary.row.progress.consecutive_errors = 1;
    let mut frame = Frame {
        jobs: vec![progress(job, DeliveryCounts::default())],
        overview: overview(),
        no_daemon: true,
        ..Frame::default()
    };
    frame.overview.disabled.push(evil.to_owned());
    let mut view = view(100, 9.0);
    let plain = draw(&frame, &view, 24).join("\n");
    let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert_eq!(plain.find(bad), None, "{plain}");
    view.style.colour = true;
    let painted = draw(&frame, &view, 24).join("\n");
    assert!(painted.contains("\u{1b}[33m"), "{painted}");
    let mut stripped = painted;
    for code in ["0", "1", "31", "32", "33", "36", "90"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn an_empty_screen_says_so() {
    insta::assert_snapshot!(page(&[], 80, 24), @r#"
    12 running, 3 ended in the last minute, 2 deliveries pending, 1 webhook failing…

    no job runs
    "#);
}
