//! Sample events for testing a webhook; they report nothing that happened.

use serde_json::{Value, json};

use super::dialect::Basiq;
use super::event::{Event, EventType};
use super::job::JobId;
use super::observe::{Evidence, Tracked, observe};
use super::time::UnixMillis;

/// The job id in samples.
const JOB: &str = "test-sample";

/// A sample of this type with this id. `webhook.test` names the webhook; the others are about a job `test-sample` with
/// metadata `{"test":true}` and have the shape of real ones. Never `None` in practice.
#[must_use]
pub fn sample(kind: EventType, id: &str, webhook: &str, at: UnixMillis) -> Option<Event> {
    let event = match kind {
        EventType::Test => Event {
            id: String::new(),
            sequence: 1,
            kind,
            created_at: at,
            expires_at: None,
            step: None,
            transition_seq: None,
            body: json!({
                "type": kind.as_str(),
                "timestamp": at.rfc3339(),
                "data": {"webhook": webhook},
            })
            .to_string(),
        },
        _ => of_job(kind, at)?,
    };
    Some(Event {
        id: id.to_owned(),
        ..event
    })
}

/// The event of this type from a job with one step.
fn of_job(kind: EventType, at: UnixMillis) -> Option<Event> {
    let error = |code: &str| json!({"code": code, "title": "This is a test", "detail": "Nothing has happened."});
    let (status, result) = match kind {
        EventType::Failed => ("failed", error("invalid-credentials")),
        EventType::Delayed => ("pending", error("temporary-unavailable-queued")),
        EventType::ActionRequired => (
            "in-progress",
            json!({
                "type": "mfa", "method": "token", "description": "This is a test; no code was sent.",
                "input": ["Code"], "expiryMs": 120_000, "links": {"response": "/jobs/test-sample/mfa"},
            }),
        ),
        EventType::Completed | EventType::StepChanged | EventType::Test => ("success", Value::Null),
    };
    let remote = json!({
        "type": "job", "id": JOB, "created": at.rfc3339(), "updated": at.rfc3339(),
        "steps": [{"title": "verify-credentials", "status": status, "result": result}],
        "links": {"self": "/jobs/test-sample"},
    });
    let tracked = Tracked {
        metadata: Some(json!({"test": true}).to_string()),
        ..Tracked::blank(JobId::parse(JOB).ok()?, at)
    };
    let snapshot = Basiq::snapshot(&remote.to_string(), None).ok()?;
    let seen = observe(
        &tracked,
        &Evidence::Snapshot(snapshot),
        at,
        "https://api.example",
    )
    .ok()?;
    seen.events.into_iter().find(|event| event.kind == kind)
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn there_is_a_sample_of_every_type_and_it_says_that_it_is_one() {
        for kind in EventType::iter() {
            let event = sample(kind, "test_1", "billing", UnixMillis(1_795_359_845_000)).unwrap();
            let body: Value = serde_json::from_str(&event.body).unwrap();
            assert_eq!((event.id.as_str(), event.kind), ("test_1", kind));
            assert_eq!(body["type"], kind.as_str());
            match kind {
                EventType::Test => assert_eq!(body["data"], json!({"webhook": "billing"})),
                _ => assert_eq!(body["data"]["metadata"], json!({"test": true})),
            }
        }
    }
}
