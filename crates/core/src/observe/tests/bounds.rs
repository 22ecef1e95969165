//! A job that changes for ever, and the bounds it passes.

use super::*;

/// Observes what `answer` makes of the number of the poll, until the job is limited; returns the number of that poll.
fn until_limited(job: &mut Tracked, answer: impl Fn(usize) -> Value) -> usize {
    let polls = (0..20_000).find(|poll| show(job, &answer(*poll)).limited);
    polls.expect("there is a bound")
}

#[test]
fn beyond_a_bound_only_the_end_has_an_event_and_it_is_complete() {
    let mut job = fresh();
    let flip = |poll: usize| {
        all(
            0..500,
            if poll.is_multiple_of(2) {
                "pending"
            } else {
                "in-progress"
            },
        )
    };
    assert_eq!(
        until_limited(&mut job, flip),
        19,
        "the twentieth would leave no room for the end"
    );
    assert_eq!((job.last_seq, job.last_sequence), (9500, 9500));
    let steps = job.steps.clone();
    let later = show(&mut job, &all(0..3, "pending"));
    assert!(later.limited && !later.moved);
    assert_eq!((later.transitions.len(), later.events.len()), (0, 0));
    assert!(later.remote.is_some(), "what was seen last is kept");
    assert_eq!(job.steps, steps, "the steps stay as they were");
    let end = show(&mut job, &all(0..3, "success"));
    assert_eq!(
        (end.state, kinds(&end)),
        (JobState::Success, vec!["job.completed"])
    );
    assert_eq!(end.events[0].sequence, 9501);
}

#[test]
fn ten_thousand_events_are_the_most_and_the_last_one_is_the_end() {
    let mut job = fresh();
    let flip = |poll: usize| {
        all(
            0..99,
            if poll.is_multiple_of(2) {
                "pending"
            } else {
                "in-progress"
            },
        )
    };
    until_limited(&mut job, flip);
    assert_eq!(job.last_sequence, 9999);
    let end = show(&mut job, &all(0..1, "failed"));
    assert_eq!(end.events[0].sequence, 10_000);
}

#[test]
fn a_thousand_missing_steps_are_recorded_and_no_more() {
    let mut job = fresh();
    let polls = until_limited(&mut job, |poll| {
        all(poll * 100..poll * 100 + 100, "pending")
    });
    assert_eq!(polls, 11);
    let missing = job
        .steps
        .iter()
        .filter(|step| step.class == StepClass::Missing)
        .count();
    assert_eq!(missing, 1000);
}

#[test]
fn events_are_bounded_in_bytes_per_job_and_per_answer() {
    let large = |bytes: usize, poll: usize| json!([{"title": "a", "status": "in-progress", "result": {"x": "y".repeat(bytes), "poll": poll}}]);
    let mut job = fresh();
    job.event_bytes = MAX_EVENT_BYTES - 100_000;
    let polls = until_limited(&mut job, |poll| large(20_000, poll));
    assert_eq!(polls, 4);
    assert!(job.event_bytes <= MAX_EVENT_BYTES);
    // An answer of 100 KB with a hundred challenges: each event would hold all of it.
    let with_challenges = |result: Value| -> Value {
        let steps = (0..100)
            .map(|n| json!({"title": n.to_string(), "status": "in-progress", "result": result}));
        steps.collect()
    };
    let mut job = fresh();
    let mfa = json!({"type": "mfa", "description": "d".repeat(1000)});
    assert!(show(&mut job, &with_challenges(mfa)).limited);
    let mut job = fresh();
    assert!(!show(&mut job, &with_challenges(json!({"type": "mfa"}))).limited);
}
