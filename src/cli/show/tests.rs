use serde_json::{Value, json};

use super::*;
use crate::cli::tests::fixture::{Followed, later, step, view};
use crate::core::delivery::{DeliveryState, Trigger, WebhookName};
use crate::core::job::FailureKind;
use crate::store::Attempt;

const NOTHING: Value = Value::Null;

/// The second example of the API's documentation, with one webhook that accepts and one that refuses.
fn waits_for_an_answer() -> JobDetail {
    let mfa = json!([{"type": "mfa", "method": "token",
        "description": "A SMS code has been sent to your device, please enter valid number",
        "input": ["OTP Password"], "expiryMs": 3600, "links": {"response": "/jobs/61723/mfa"}}]);
    let steps = |first: &str, second: Value| {
        [
            step("verify-credentials", first, &NOTHING),
            second,
            step("retrieve-accounts", "pending", &NOTHING),
        ]
    };
    let mut story = Followed::of("61723");
    story
        .seen(
            1.0,
            &steps("in-progress", step("mfa-challenge", "pending", &NOTHING)),
        )
        .seen(
            4.2,
            &steps("success", step("mfa-challenge", "in-progress", &mfa)),
        )
        .delivered("billing", DeliveryState::Delivered)
        .delivered("audit", DeliveryState::Pending);
    let mut detail = story.detail;
    let asked = |webhook: &str, sequence| webhook == "audit" || sequence > 5;
    detail
        .deliveries
        .retain(|each| each.sequence > 4 && asked(each.webhook.as_str(), each.sequence));
    let row = &mut detail.summary.row;
    row.deadline_at = Some(later(7200.0));
    row.next_poll_at = Some(later(21.0));
    detail.summary.metadata = Some(r#"{"customer":"c_9"}"#.to_owned());
    let head = detail
        .deliveries
        .iter_mut()
        .find(|each| each.webhook == "audit")
        .unwrap();
    head.attempts = 2;
    head.next_attempt_at = Some(later(28.0));
    head.last_error = Some("status: 500 Internal Server Error".to_owned());
    detail
}

#[test]
fn a_job_that_waits_for_an_answer_says_what_is_asked_until_when_and_where() {
    insta::assert_snapshot!(page(&waits_for_an_answer(), &[], &view(90, 9.0)), @r#"
    ◐ 61723  in-progress
      age         9s, enqueued 2026-11-22 15:04:05Z
      polls       2, the last 4.8s ago, the next in 12s
      deadline    in 1h 59m, 2026-11-22 17:04:05Z
      webhook     all that subscribe
      metadata    {"customer":"c_9"}

    Steps  1 of 3 done
      ✓ verify-credentials  success           3.2s  ━━━━━━━━━━━━━━
      │
      ? mfa-challenge       in-progress       4.8s                ━━━━━━━━━━━━━━━━━━━━━━
      │   challenge  token
      │              A SMS code has been sent to your device, please enter valid number
      │   asks for   OTP Password
      │   expired    1.2s ago, 2026-11-22 15:04:12Z
      │   remark     expiryMs 3600 is implausibly short; the API may mean seconds, 1h
      │   answer at  https://au-api.basiq.io/jobs/61723/mfa
      │
      ○ retrieve-accounts   pending

    Deliveries
      billing  1 of 1 delivered
        ✓ #6    job.action_required  delivered
      audit  0 of 2 delivered
        ↻ #5    job.step_changed     pending    2 attempts, next in 19s
                status: 500 Internal Server Error
        ○ #6    job.action_required  pending    after #5

    History
      2026-11-22 15:04:06Z  step     verify-credentials: in-progress
      2026-11-22 15:04:06Z  step     mfa-challenge: pending
      2026-11-22 15:04:06Z  step     retrieve-accounts: pending
      2026-11-22 15:04:09Z  step     verify-credentials: in-progress → success
      2026-11-22 15:04:09Z  step     mfa-challenge: pending → in-progress
      2026-11-22 15:04:09Z  event    #6 job.action_required
    "#);
}

#[test]
fn everything_fits_into_a_narrow_terminal() {
    for width in [60, 80, 100] {
        for line in page(&waits_for_an_answer(), &[], &view(width, 9.0)).lines() {
            assert!(text::columns(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_job_that_the_tracker_ended_ends_in_its_failure() {
    let mut story = Followed::of("61725");
    let queued = json!({"code": "temporary-unavailable-queued", "title": "Temporarily unavailable", "detail": "Try later"});
    let steps = |second: &Value| {
        [
            step("verify-credentials", "success", &NOTHING),
            step("retrieve-accounts", "pending", second),
        ]
    };
    story.seen(1.0, &steps(&NOTHING)).seen(3.0, &steps(&queued));
    insta::assert_snapshot!(page(&story.detail, &[], &view(80, 603.0)), @r#"
    ◐ 61725  in-progress
      age         10m 3s, enqueued 2026-11-22 15:04:05Z
      polls       2, the last 10m ago, the next due
      deadline    polling.deadline after it was enqueued
      webhook     all that subscribe

    Steps  1 of 2 done
      ✓ verify-credentials  success
      │
      ◷ retrieve-accounts   pending        10m  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
          queued     by the API, which tries again by itself; polls are rare
                     meanwhile
                     Temporarily unavailable
                     Try later

    Deliveries
      none: no webhook subscribes to what has happened

    History
      2026-11-22 15:04:06Z  step     verify-credentials: success
      2026-11-22 15:04:06Z  step     retrieve-accounts: pending
      2026-11-22 15:04:08Z  step     retrieve-accounts: pending → pending
      2026-11-22 15:04:08Z  event    #4 job.delayed
    "#);
    story.ended(7200.0, FailureKind::Expired, "the deadline passed");
    insta::assert_snapshot!(page(&story.detail, &[], &view(80, 7260.0)), @r#"
    ✗ 61725  failed
      took        2h, ended 1m ago
      polls       3
      webhook     all that subscribe

    Steps  1 of 2 done
      ✓ verify-credentials  success
      │
      ○ retrieve-accounts   pending
      │
      ✗ expired
          title      the deadline passed
          detail     what the operator has to know

    Deliveries
      none: no webhook subscribes to what has happened

    History
      2026-11-22 15:04:06Z  step     verify-credentials: success
      2026-11-22 15:04:06Z  step     retrieve-accounts: pending
      2026-11-22 15:04:08Z  step     retrieve-accounts: pending → pending
      2026-11-22 15:04:08Z  event    #4 job.delayed
      2026-11-22 17:04:05Z  event    #5 job.failed
    "#);
}

#[test]
fn a_job_that_nobody_has_looked_at_yet_is_short() {
    insta::assert_snapshot!(page(&Followed::of("61726").detail, &[], &view(80, 9.0)), @r#"
    ○ 61726  pending
      age         9s, enqueued 2026-11-22 15:04:05Z
      polls       none yet, the first due
      deadline    polling.deadline after it was enqueued
      webhook     all that subscribe

    Steps  not seen yet
    "#);
}

#[test]
fn hostile_text_is_escaped_wherever_it_stands() {
    let evil = "\u{1b}[2J\r\n\u{202e}evil\u{9b}";
    let mfa = json!({"type": "mfa", "method": evil, "description": [evil], "input": [evil, {"x": evil}],
        "expiryMs": 120_000, "links": {"response": evil}});
    let failed = json!({"code": evil, "title": {"x": evil}, "detail": [evil]});
    let mut story = Followed::of("1");
    story
        .seen(
            1.0,
            &[step(evil, "in-progress", &mfa), step("b", evil, &NOTHING)],
        )
        .delivered(evil, DeliveryState::Exhausted);
    let detail = &mut story.detail;
    detail.summary.metadata = Some(format!("{{\"a\":\"{evil}\"}}"));
    detail.summary.row.webhook = Some(evil.to_owned());
    detail.summary.row.progress.last_error = Some(evil.to_owned());
    detail.deliveries[0].last_error = Some(evil.to_owned());
    let mut pages = page(detail, &[], &view(80, 5.0));
    story.seen(2.0, &[step(evil, "failed", &failed)]);
    pages.push_str(&page(&story.detail, &[], &view(80, 5.0)));
    assert!(pages.contains("evil"));
    let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert_eq!(pages.find(bad), None, "{pages}");
}

#[test]
fn a_webhook_that_stands_still_says_why_and_every_attempt_is_in_the_history() {
    let mut detail = waits_for_an_answer();
    let event = detail.events[4].id.clone();
    let attempt = |number, seconds: f64, status: Option<u16>, error: Option<&str>| Attempt {
        event_id: event.clone(),
        webhook: WebhookName::new("audit"),
        number,
        started_at: later(seconds),
        duration_ms: 250,
        status,
        error: error.map(str::to_owned),
        trigger: Trigger::Schedule,
        answer: None,
        answer_cut: None,
    };
    detail.attempts = vec![
        attempt(1, 4.3, Some(500), Some("status: 500\u{1b}[2J")),
        attempt(2, 6.0, Some(204), None),
    ];
    let webhooks = [
        (
            "billing".to_owned(),
            WebhookHealth {
                disabled: Some((later(5.0), "status: 410 Gone".to_owned())),
                ..WebhookHealth::default()
            },
        ),
        (
            "audit".to_owned(),
            WebhookHealth {
                paused_until: Some(later(69.0)),
                ..WebhookHealth::default()
            },
        ),
    ];
    let page = page(&detail, &webhooks, &view(90, 9.0));
    for expected in [
        "    the webhook was disabled 4s ago: status: 410 Gone\n",
        "    the webhook asked for a pause; it is sent to again in 1m\n",
        "  2026-11-22 15:04:06Z  step     verify-credentials: in-progress\n",
        "  2026-11-22 15:04:09Z  step     verify-credentials: in-progress → success\n",
        "  2026-11-22 15:04:09Z  event    #6 job.action_required\n",
        "  2026-11-22 15:04:09Z  attempt  #5 job.step_changed to audit, number 1: status:\n                                 500\\u{1b}[2J, 250ms\n",
        "  2026-11-22 15:04:11Z  attempt  #5 job.step_changed to audit, number 2: 204, 250ms\n",
    ] {
        assert!(page.contains(expected), "{expected} is missing in\n{page}");
    }
    detail.attempts = vec![attempt(1, 7.0, Some(204), None); 60];
    let page = super::page(&detail, &[], &view(90, 9.0));
    assert!(page.contains("earlier; all of them with --json"), "{page}");
    assert_eq!(page.matches("attempt  #5").count(), 40);
}
