use crate::json::Verbatim;

use strum::IntoEnumIterator;

use super::*;

#[test]
fn a_job_s_webhook_narrows_the_subscribers_to_one() {
    let name = |name: &str| WebhookName::new(name);
    let subscriptions = Subscriptions::new(vec![
        (name("all"), EventType::iter().collect()),
        (name("ends"), vec![EventType::Completed]),
    ]);
    let webhooks = |kind, only| {
        let webhooks = subscriptions.webhooks(kind, only).into_iter();
        webhooks
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(webhooks(EventType::Completed, None), ["all", "ends"]);
    assert_eq!(webhooks(EventType::StepChanged, None), ["all"]);
    assert_eq!(webhooks(EventType::Completed, Some("ends")), ["ends"]);
    let none = Vec::<String>::new();
    assert_eq!(webhooks(EventType::StepChanged, Some("ends")), none);
    // One that is not configured gets the default types.
    assert_eq!(webhooks(EventType::Completed, Some("late")), ["late"]);
    assert_eq!(webhooks(EventType::StepChanged, Some("late")), none);
}

#[test]
fn ids_are_the_same_for_the_same_fact_and_differ_otherwise() {
    let job = JobId::parse("61723").unwrap();
    let ids = |inserted_at| EventIds::new(&job, UnixMillis(inserted_at));
    let id = ids(5).of(4, EventType::Failed);
    // Those of earlier versions.
    assert_eq!(id, "evt_00000000000588cc61ea5b908a2d77ff");
    for other in [
        ids(6).of(4, EventType::Failed),
        ids(5).of(5, EventType::Failed),
        ids(5).of(4, EventType::Completed),
    ] {
        assert_ne!(id, other);
    }
}

#[test]
fn the_body_of_a_failure_is_that_of_the_documents_to_the_letter() {
    let job_id = JobId::parse("61723").unwrap();
    let metadata = RawValue::from_string(r#"{"customer": "c_9"}"#.to_owned()).unwrap();
    let job = RawValue::from_string(r#"{"id":"61723", "steps":[]}"#.to_owned()).unwrap();
    let failure = Failure {
        kind: crate::job::FailureKind::Step,
        step: Some("verify-credentials".to_owned()),
        code: "invalid-credentials".into(),
        title: "T".into(),
        detail: Verbatim::default(),
    };
    let subject = Subject {
        job_id: &job_id,
        ids: EventIds::new(&job_id, UnixMillis(1)),
        state: JobState::Failed,
        metadata: Some(&metadata),
        job: Some(&job),
        at: UnixMillis(1_795_359_845_123),
    };
    let event = event(&subject, 4, &EventContent::Failed(&failure)).unwrap();
    assert_eq!(
        event.body,
        concat!(
            r#"{"type":"job.failed","timestamp":"2026-11-22T15:04:05.123Z","data":{"job_id":"61723","sequence":4,"#,
            r#""state":"failed","metadata":{"customer": "c_9"},"failure":{"kind":"step","step":"verify-credentials","#,
            r#""code":"invalid-credentials","title":"T","detail":null},"job":{"id":"61723", "steps":[]}}}"#
        )
    );
}
