//! One signed sample for a webhook.

use anyhow::anyhow;

use crate::clock::{Clock, Jitter};
use crate::core::delivery::{AttemptResult, Directive, Trigger};
use crate::core::event::EventType;
use crate::core::sample::sample;
use crate::store::Attempt;
use crate::webhook::{AttemptReport, Message, PrintedRequest, Sender, WebhookSettings};

/// A sample that was sent.
pub(crate) struct Tested {
    /// What was sent, without secrets.
    pub(crate) request: PrintedRequest,
    /// Its body.
    pub(crate) body: String,
    /// The attempt, to be recorded.
    pub(crate) attempt: Attempt,
    /// What came of it.
    pub(crate) report: AttemptReport,
}

/// Sends a sample of this type.
///
/// # Errors
/// When it cannot be made or sent at all; a refusal by the receiver is part of what is returned.
pub(crate) async fn send(
    kind: EventType,
    webhook: &WebhookSettings,
    sender: &Sender,
    clock: &Clock,
) -> anyhow::Result<Tested> {
    let id = Jitter::system().id("test_");
    let event = sample(kind, &id, webhook.name.as_str(), clock.now())
        .ok_or_else(|| anyhow!("the sample cannot be made"))?;
    let message = Message {
        id: &event.id,
        body: event.body.clone().into_bytes().into(),
        attempt: 1,
        is_replay: false,
    };
    let (report, request) = sender.send_and_print(webhook, &message).await?;
    let attempt = report.attempt(&event.id, &webhook.name, 1, Trigger::Test);
    Ok(Tested {
        request,
        body: event.body,
        attempt,
        report,
    })
}

/// What such an answer would mean for an event.
pub(crate) fn meaning(report: &AttemptReport) -> &'static str {
    match (&report.result, report.directive) {
        (AttemptResult::Delivered { .. }, Some(Directive::Disable)) => {
            "an event would be delivered, and the webhook disabled, as it asks for"
        }
        (AttemptResult::Delivered { .. }, _) => "an event would be delivered",
        (AttemptResult::Gone, _) | (_, Some(Directive::Disable)) => "the webhook would be disabled",
        (_, Some(Directive::AbortMessage)) => "the event would be given up, and the next one sent",
        (AttemptResult::Throttled { .. }, None) => "the webhook would be paused for that long",
        _ => "the event would be tried again by the schedule",
    }
}
