mod bounds;

use serde_json::{Value, json};

use super::*;
use crate::dialect::Basiq;
use crate::event::EventType;
use crate::job::FailureKind;
use crate::transition::MISSING;

const ORIGIN: &str = "https://au-api.basiq.io";

fn fresh() -> Tracked {
    Tracked {
        metadata: Some(r#"{"customer":"c_9"}"#.to_owned()),
        ..Tracked::blank(JobId::parse("61723").unwrap(), UnixMillis(1))
    }
}

/// Observes an answer with these steps, and takes the job as it is recorded then.
fn show(job: &mut Tracked, steps: &Value) -> Observation {
    let body = json!({"type": "job", "id": "61723", "steps": steps}).to_string();
    let snapshot = Basiq::snapshot(&body, Some(&job.id)).unwrap();
    let observation = observe(
        job,
        &Evidence::Snapshot(snapshot),
        UnixMillis(1_000),
        ORIGIN,
    )
    .unwrap();
    *job = job.clone().after(&observation);
    observation
}

fn kinds(observation: &Observation) -> Vec<&'static str> {
    observation
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect()
}

fn data(observation: &Observation, kind: &str) -> Value {
    let event = observation
        .events
        .iter()
        .find(|event| event.kind.as_str() == kind)
        .unwrap();
    serde_json::from_str::<Value>(&event.body).unwrap()["data"].take()
}

fn step(title: &str, status: &str) -> Value {
    json!({"title": title, "status": status, "result": null})
}

#[test]
fn the_terminal_rules_are_those_of_the_documents() {
    let table: [(&[&str], JobState); 9] = [
        (&[], JobState::InProgress),
        (&["success"], JobState::Success),
        (&["success", "skipped"], JobState::Success),
        (&["skipped"], JobState::Success),
        (&["success", "pending"], JobState::InProgress),
        (&["success", "done"], JobState::InProgress),
        (&["pending", "failed"], JobState::Failed),
        (&["failed", "pending", "pending"], JobState::Failed),
        (&["failure"], JobState::InProgress),
    ];
    for (statuses, state) in table {
        let steps: Vec<Value> = statuses.iter().map(|status| step("t", status)).collect();
        assert_eq!(
            show(&mut fresh(), &json!(steps)).state,
            state,
            "{statuses:?}"
        );
    }
}

#[test]
fn a_failed_step_is_passed_on_unchanged_whether_object_array_or_nothing() {
    let error = json!({"code": "invalid-credentials", "title": "T", "detail": "D"});
    let table = [
        (error.clone(), json!(["invalid-credentials", "T", "D"])),
        (json!([error]), json!(["invalid-credentials", "T", "D"])),
        (
            json!({"code": 7, "details": "only details"}),
            json!([7, null, "only details"]),
        ),
        (Value::Null, json!([null, null, null])),
    ];
    for (result, expected) in table {
        let observation = show(
            &mut fresh(),
            &json!([{"title": "verify-credentials", "status": "failed", "result": result}, step("b", "pending")]),
        );
        let failure = data(&observation, "job.failed")["failure"].take();
        assert_eq!(failure["kind"], "step");
        assert_eq!(failure["step"], "verify-credentials");
        assert_eq!(
            json!([failure["code"], failure["title"], failure["detail"]]),
            expected
        );
        assert_eq!(
            kinds(&observation),
            ["job.step_changed", "job.step_changed", "job.failed"]
        );
    }
}

#[test]
fn steps_that_are_missing_do_not_prevent_success() {
    let mut job = fresh();
    show(
        &mut job,
        &json!([step("a", "success"), step("b", "pending")]),
    );
    let observation = show(&mut job, &json!([step("a", "success")]));
    assert_eq!(observation.state, JobState::Success);
    assert_eq!(kinds(&observation), ["job.step_changed", "job.completed"]);
}

#[test]
fn a_challenge_has_one_event_and_another_only_when_it_is_new() {
    let mfa = |input: &str| json!({"type": "mfa", "method": "token", "input": [input], "expiryMs": 120_000, "links": {"response": "/jobs/61723/mfa"}});
    let waits = |result: Value| json!([step("verify-credentials", "success"), {"title": "mfa-challenge", "status": "in-progress", "result": result}]);
    let mut job = fresh();
    let first = show(&mut job, &waits(json!([mfa("OTP")])));
    let challenge = data(&first, "job.action_required")["challenge"].take();
    assert_eq!(
        challenge,
        json!({"step": "mfa-challenge", "method": "token", "description": null, "input": ["OTP"],
               "expires_at": "1970-01-01T00:02:01.000Z", "response_url": "https://au-api.basiq.io/jobs/61723/mfa"})
    );
    let action_required = |observation: &Observation| {
        kinds(observation)
            .iter()
            .filter(|kind| **kind == "job.action_required")
            .count()
    };
    assert_eq!(
        action_required(&show(&mut job, &waits(json!([mfa("OTP")])))),
        0,
        "unchanged"
    );
    assert_eq!(
        action_required(&show(&mut job, &waits(mfa("OTP")))),
        0,
        "the same object without its array"
    );
    assert_eq!(
        action_required(&show(&mut job, &waits(mfa("Another code")))),
        1,
        "changed"
    );
    assert_eq!(
        action_required(&show(&mut job, &waits(Value::Null))),
        0,
        "answered"
    );
    assert_eq!(
        action_required(&show(&mut job, &waits(mfa("Another code")))),
        1,
        "it comes again"
    );
    let done = show(
        &mut job,
        &json!([step("verify-credentials", "success"), {"title": "mfa-challenge", "status": "success", "result": mfa("Another code")}]),
    );
    assert_eq!(
        action_required(&done),
        0,
        "an old challenge on a step that is done"
    );
    assert_eq!(done.state, JobState::Success);
}

#[test]
fn a_queued_step_has_one_event_and_slows_polling_while_it_lasts() {
    let queued = |title: &str| json!({"title": title, "status": "pending", "result": {"code": "temporary-unavailable-queued", "title": "T", "detail": "D"}});
    let mut job = fresh();
    let first = show(&mut job, &json!([queued("a"), step("b", "pending")]));
    assert_eq!(
        data(&first, "job.delayed")["reason"],
        json!({"code": "temporary-unavailable-queued", "title": "T", "detail": "D"})
    );
    assert_eq!(data(&first, "job.delayed")["step"], "a");
    assert!(first.queued);
    let running = show(
        &mut job,
        &json!([step("a", "in-progress"), step("b", "pending")]),
    );
    assert!(!running.queued);
    let again = show(&mut job, &json!([queued("a"), queued("b")]));
    assert_eq!(
        kinds(&again),
        ["job.step_changed", "job.step_changed", "job.delayed"]
    );
    assert_eq!(data(&again, "job.delayed")["step"], "b");
}

#[test]
fn events_name_their_step_and_their_transition() {
    let mut steps = challenge(&json!({}));
    let queued = json!({"code": "temporary-unavailable-queued"});
    let more = [
        json!({"title": "later", "status": "pending", "result": queued}),
        step("last", "failed"),
    ];
    steps.as_array_mut().unwrap().extend(more);
    let seen = show(&mut fresh(), &steps);
    let named = seen.events.iter();
    let named: Vec<_> = named
        .map(|event| (event.kind, event.step.as_deref(), event.transition_seq))
        .collect();
    assert_eq!(
        named,
        [
            (EventType::StepChanged, Some("mfa"), Some(1)),
            (EventType::StepChanged, Some("later"), Some(2)),
            (EventType::StepChanged, Some("last"), Some(3)),
            (EventType::Delayed, Some("later"), None),
            (EventType::ActionRequired, Some("mfa"), None),
            (EventType::Failed, None, None),
        ]
    );
}

#[test]
fn the_event_of_an_end_decided_by_the_tracker_holds_the_job_as_last_seen() {
    let mut job = fresh();
    show(&mut job, &json!([step("a", "in-progress")]));
    let failure = Failure::decided(FailureKind::Expired, "deadline passed", "D".to_owned());
    let observation = observe(&job, &Evidence::End(failure), UnixMillis(9), ORIGIN).unwrap();
    let data = data(&observation, "job.failed");
    assert_eq!(data["failure"]["kind"], "expired");
    assert_eq!(data["job"]["steps"][0]["title"], "a");
    assert_eq!(data["metadata"], json!({"customer": "c_9"}));
    assert_eq!(data["sequence"], 2);
    assert_eq!(observation.steps, []);
}

#[test]
fn response_links_become_absolute_and_foreign_ones_stay_as_they_are() {
    for (link, expected) in [
        ("/jobs/1/mfa", Some("https://au-api.basiq.io/jobs/1/mfa")),
        ("https://evil.test/x", Some("https://evil.test/x")),
        ("//evil.test/x", None),
        ("jobs/1/mfa", None),
        ("javascript:1", None),
    ] {
        assert_eq!(absolute(ORIGIN, link).as_deref(), expected, "{link}");
    }
}

/// Steps with these titles, all in this status.
fn all(titles: impl Iterator<Item = usize>, status: &str) -> Value {
    titles
        .map(|title| step(&title.to_string(), status))
        .collect()
}

#[test]
fn only_steps_that_are_not_recorded_as_they_are_are_recorded() {
    let mut job = fresh();
    let mut recorded = |steps: Value| {
        let seen = show(&mut job, &steps);
        let titles = seen.steps.into_iter().map(|step| step.title);
        titles.collect::<Vec<_>>().join(" ")
    };
    let queued =
        json!({"code": "temporary-unavailable-queued", "title": "Queued", "detail": "Later"});
    let later = |result: Value| json!({"title": "c", "status": "pending", "result": result});
    let (a, b) = (step("a", "in-progress"), step("b", "pending"));
    for (steps, expected) in [
        (json!([a, b, later(Value::Null)]), "a b c"),
        (json!([a, b, later(Value::Null)]), ""),
        (json!([step("a", "success"), b, later(Value::Null)]), "a"),
        (json!([step("a", "success"), b, later(queued.clone())]), "c"),
        (
            json!([b, step("a", "success"), later(queued.clone())]),
            "b a",
        ),
        (json!([b, later(queued.clone())]), "c a"),
        (json!([b, later(queued)]), ""),
    ] {
        assert_eq!(recorded(steps.clone()), expected, "{steps}");
    }
}

fn challenge(parts: &Value) -> Value {
    let mut mfa = json!({"type": "mfa", "method": "token", "description": "Code?", "input": ["OTP"],
                         "expiryMs": 120_000, "links": {"response": "/jobs/61723/mfa"}});
    let parts = parts.as_object().unwrap().clone();
    mfa.as_object_mut().unwrap().extend(parts);
    json!([{"title": "mfa", "status": "in-progress", "result": [mfa]}])
}

#[test]
fn a_challenge_is_the_same_whatever_its_times_and_keeps_its_first_expiry() {
    let mut job = fresh();
    let first = show(&mut job, &challenge(&json!({})));
    let expires = data(&first, "job.action_required")["challenge"]["expires_at"].take();
    for parts in [
        json!({"expiryMs": 119_000}),
        json!({"expiryMs": "60000"}),
        json!({"expiryMs": null, "sent": "2026-11-28T00:00:00Z"}),
        json!({"attempt": 2}),
        json!({"links": {"response": format!("{ORIGIN}/jobs/61723/mfa")}}),
    ] {
        let again = show(&mut job, &challenge(&parts));
        assert_eq!(kinds(&again), ["job.step_changed"], "{parts}");
        assert!(!again.moved && again.has_challenge, "{parts}");
        let recorded = again.steps[0].challenge.as_ref().unwrap();
        assert_eq!(recorded.expires_at.unwrap().rfc3339(), expires);
    }
    // Recorded by an older version: the link is as the API wrote it.
    let recorded = job.steps[0].challenge.as_mut().unwrap();
    assert!(recorded.identity.contains(ORIGIN));
    recorded.identity = recorded.identity.replace(ORIGIN, "");
    assert_eq!(
        kinds(&show(&mut job, &challenge(&json!({"expiryMs": 1})))),
        ["job.step_changed"]
    );
    for parts in [
        json!({"method": "question"}),
        json!({"description": "Code, please"}),
        json!({"input": ["OTP", "PIN"]}),
        json!({"links": {"response": "/jobs/61723/mfa/2"}}),
        json!({"links": null}),
    ] {
        let other = show(&mut job, &challenge(&parts));
        assert_eq!(kinds(&other)[1..], ["job.action_required"], "{parts}");
        assert!(other.moved, "{parts}");
    }
}

#[test]
fn a_challenge_that_comes_back_has_another_event_unless_its_step_was_missing_meanwhile() {
    let action_required =
        |observation: &Observation| kinds(observation).contains(&"job.action_required");
    let mut job = fresh();
    assert!(action_required(&show(&mut job, &challenge(&json!({})))));
    show(&mut job, &json!([step("other", "pending")]));
    assert_eq!(job.steps[0].status, MISSING);
    assert!(!job.steps[0].has_challenge());
    assert!(!action_required(&show(&mut job, &challenge(&json!({})))));
    show(&mut job, &json!([step("mfa", "in-progress")]));
    assert!(
        action_required(&show(&mut job, &challenge(&json!({})))),
        "it was answered"
    );
}

#[test]
fn polling_is_quick_only_while_more_than_results_changes() {
    let mut job = fresh();
    let with =
        |status: &str, result: Value| json!([{"title": "a", "status": status, "result": result}]);
    assert!(
        show(&mut job, &with("in-progress", json!({"percent": 1}))).moved,
        "first sight"
    );
    for percent in 2..5 {
        let seen = show(&mut job, &with("in-progress", json!({"percent": percent})));
        assert_eq!(seen.transitions.len(), 1);
        assert!(!seen.moved);
    }
    assert!(show(&mut job, &with("pending", json!({"percent": 5}))).moved);
    assert!(show(&mut job, &json!([])).moved, "it vanished");
}

#[test]
fn an_answer_of_an_earlier_time_than_the_recorded_one_is_stale() {
    let snapshot = |updated: &str| {
        let body = format!(r#"{{"type":"job","steps":[],{updated}}}"#);
        Basiq::snapshot(&body, None).unwrap()
    };
    let mut job = fresh();
    job.remote_updated = snapshot(r#""updated":"2026-11-22T15:04:05.100Z""#).remote_updated;
    for (updated, stale) in [
        (r#""updated":"2026-11-22T15:04:05.099Z""#, true),
        (r#""updated":"2026-11-22T15:04:05Z""#, true),
        (r#""updatedDate":"2026-11-22T15:04:04Z""#, true),
        (r#""updated":"2026-11-22T15:04:05.1Z""#, false),
        (r#""updated":"2026-11-22T16:04:05.100+01:00""#, false),
        (r#""updated":"2026-11-22T15:04:06Z""#, false),
        (r#""updated":"yesterday""#, false),
        (r#""updated":null"#, false),
    ] {
        assert_eq!(is_stale(&job, &snapshot(updated)), stale, "{updated}");
    }
    job.remote_updated = None;
    assert!(!is_stale(
        &job,
        &snapshot(r#""updated":"1990-01-01T00:00:00Z""#)
    ));
}
