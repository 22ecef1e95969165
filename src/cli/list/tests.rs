use serde_json::{Value, json};

use super::*;
use crate::cli::tests::fixture::{Followed, later, step, view};
use crate::core::job::FailureKind;

fn every_kind() -> Vec<JobSummary> {
    let steps = |word: &str, result: &Value| {
        [
            step("verify-credentials", "success", &Value::Null),
            step("retrieve-accounts", word, result),
        ]
    };
    let story = |id: &str, word: &str, result: &Value| {
        let mut story = Followed::of(id);
        story.seen(2.0, &steps(word, result));
        let row = &mut story.detail.summary.row;
        row.next_poll_at = (!row.state.is_final()).then(|| later(72.0));
        story
    };
    let mut cancelled = Followed::of("61728");
    cancelled.ended(9.0, FailureKind::Cancelled, "tracking was cancelled");
    let mut troubled = story("61723", "in-progress", &Value::Null);
    let row = &mut troubled.detail.summary.row;
    row.progress.last_error = Some("timeout: no answer within 15s\u{1b}[2J".to_owned());
    row.progress.consecutive_errors = 2;
    [
        Followed::of("a03e4df4-dc05-4cd3-9af0-0f28a13ea614"),
        troubled,
        story("61724", "in-progress", &json!({"type": "mfa"})),
        story(
            "61725",
            "pending",
            &json!({"code": "temporary-unavailable-queued"}),
        ),
        story("61726", "success", &Value::Null),
        story(
            "61727",
            "failed",
            &json!({"code": "invalid-credentials", "title": "Cannot login"}),
        ),
        cancelled,
    ]
    .map(|story| story.detail.summary)
    .to_vec()
}

#[test]
fn each_job_is_one_line_with_what_it_does_now() {
    insta::assert_snapshot!(draw(&every_kind(), &view(120, 60.0)), @r#"
    ID                                    STATE          STEPS                   AGE  POLLS  NEXT POLL  LAST ERROR
    ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
    a03e4df4-dc05-4cd3-9af0-0f28a13ea614  ○ pending      –                        1m      0  due
    61723                                 ◐ in-progress  1/2 retri… in-progress   1m      1  in 12s     timeout: no answer …
    61724                                 ◐ in-progress  1/2 needs an answer      1m      1  in 12s
    61725                                 ◐ in-progress  1/2 retrieve-a… queued   1m      1  in 12s
    61726                                 ✓ success      2/2                      1m      1
    61727                                 ✗ failed       1/2 retrieve-a… failed   1m      1             invalid-credentials…
    61728                                 ✗ failed       –                        1m      1             cancelled: tracking…
    "#);
}

#[test]
fn a_narrow_terminal_goes_without_the_columns_that_matter_least() {
    insta::assert_snapshot!(draw(&every_kind(), &view(60, 60.0)), @r#"
    ID                                    STATE          STEPS
    ──────────────────────────────────────────────────────────
    a03e4df4-dc05-4cd3-9af0-0f28a13ea614  ○ pending      –
    61723                                 ◐ in-progress  1/2
    61724                                 ◐ in-progress  1/2
    61725                                 ◐ in-progress  1/2
    61726                                 ✓ success      2/2
    61727                                 ✗ failed       1/2
    61728                                 ✗ failed       –
    "#);
    for width in [40, 60, 80, 100] {
        for line in draw(&every_kind(), &view(width, 60.0)).lines() {
            assert!(text::columns(line) <= width, "{width}: {line}");
        }
    }
}
