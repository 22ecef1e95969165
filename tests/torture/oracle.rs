//! Judges what was recorded and what was sent by the ground truth and the tables alone, never by the daemon's word.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::course::Course;
use crate::ground::{Poll, Post, Seen};
use crate::tables::{Event, Tables, Transition};

/// What is wrong, in words; empty if nothing is.
pub(crate) type Complaints = Vec<String>;

const ENDS: [&str; 2] = ["job.completed", "job.failed"];

/// Everything that holds at any moment, also in the middle of faults.
pub(crate) fn always(seen: &Seen, tables: &Tables) -> Complaints {
    let mut complaints = durable(seen, tables);
    let polls = by_job(&seen.polls, |poll| &poll.job);
    let transitions = by_job(&tables.transitions, |each| &each.job);
    for (job, transitions) in &transitions {
        let polls = polls.get(job).into_iter().flatten();
        history(
            job,
            &polls.filter_map(|poll| poll.shown).collect(),
            transitions,
            &mut complaints,
        );
    }
    for (job, events) in by_job(&tables.events, |event| &event.job) {
        let transitions = transitions.get(job).map_or(0, Vec::len);
        events_of(job, &events, transitions, &mut complaints);
    }
    sending(seen, tables, &mut complaints);
    polling(seen, &mut complaints);
    complaints
}

/// What is acknowledged is there, unchanged: all that a power cut may not take.
pub(crate) fn durable(seen: &Seen, tables: &Tables) -> Complaints {
    let mut complaints = Vec::new();
    let sound = tables.checks.iter().all(|said| said == "ok");
    if !sound || tables.checks.is_empty() {
        complaints.push(format!("the database is damaged: {:?}", tables.checks));
    }
    let jobs: BTreeSet<&String> = tables.jobs.iter().map(|(id, _)| id).collect();
    let lost = seen.acknowledged.iter().filter(|id| !jobs.contains(id));
    complaints.extend(lost.map(|id| format!("the job {id} was acknowledged and is lost")));
    let events: BTreeMap<&str, &Event> = tables
        .events
        .iter()
        .map(|event| (event.id.as_str(), event))
        .collect();
    let mut known = BTreeSet::new();
    for post in seen.posts.iter().filter(|post| known.insert(&post.id)) {
        let Some(event) = events.get(post.id.as_str()) else {
            complaints.push(format!(
                "the event {} of {} was sent and is lost",
                post.id, post.job
            ));
            continue;
        };
        let fact = (
            event.job.as_str(),
            event.sequence.unsigned_abs(),
            event.kind.as_str(),
        );
        if fact != (post.job.as_str(), post.sequence, post.kind.as_str()) {
            complaints.push(format!(
                "the event {} was sent as another one than is recorded",
                post.id
            ));
        }
        if event.body.as_bytes() != post.body {
            complaints.push(format!(
                "the event {} was sent with other bytes than are recorded",
                post.id
            ));
        }
    }
    complaints
}

/// What holds once all faults are over and the daemon has caught up.
pub(crate) fn finally(seen: &Seen, tables: &Tables) -> Complaints {
    let mut complaints = always(seen, tables);
    let accepted: BTreeSet<&str> = seen
        .posts
        .iter()
        .filter(|post| post.is_accepted())
        .map(|post| post.id.as_str())
        .collect();
    let events = by_job(&tables.events, |event| &event.job);
    for (id, state) in &tables.jobs {
        let end = Course::of(id).end();
        if state != end {
            complaints.push(format!(
                "the job {id} is {state}, but the API showed its end as {end}"
            ));
        }
        let ends = events
            .get(id)
            .into_iter()
            .flatten()
            .filter(|event| is_end(&event.kind));
        if ends.count() != 1 {
            complaints.push(format!("the job {id} has not one end"));
        }
    }
    for event in &tables.events {
        let name = format!("event {} ({} of {})", event.id, event.sequence, event.job);
        if !accepted.contains(event.id.as_str()) {
            complaints.push(format!("the {name} was never accepted by the receiver"));
        }
        if event.delivery.as_deref() != Some("delivered") {
            complaints.push(format!(
                "the delivery of the {name} is {:?}",
                event.delivery
            ));
        }
    }
    complaints
}

fn is_end(kind: &str) -> bool {
    ENDS.contains(&kind)
}

fn by_job<T>(rows: &[T], job: impl Fn(&T) -> &String) -> BTreeMap<&String, Vec<&T>> {
    let mut jobs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        jobs.entry(job(row)).or_default().push(row);
    }
    jobs
}

/// The transitions of a job are what follows from stages that the API showed, one after another, without gaps.
fn history(
    job: &str,
    shown: &BTreeSet<usize>,
    transitions: &[&Transition],
    complaints: &mut Complaints,
) {
    let course = Course::of(job);
    for (number, each) in (1..).zip(transitions) {
        if each.seq != number {
            complaints.push(format!("the transitions of {job} have a gap at {number}"));
            return;
        }
    }
    let mut before = None;
    for group in transitions.chunk_by(|one, next| one.updated == next.updated) {
        let updated = &group[0].updated;
        let Some(stage) = course
            .stage_of(updated)
            .filter(|stage| shown.contains(stage))
        else {
            complaints.push(format!(
                "{job} has a transition of {updated}, which the API never showed"
            ));
            return;
        };
        if before.is_some_and(|before| stage <= before) {
            complaints.push(format!("{job} went back to stage {stage}"));
        }
        let recorded: Vec<_> = group
            .iter()
            .map(|each| (each.title.clone(), each.from.clone(), each.to.clone()))
            .collect();
        let expected = course.changes(before, stage);
        if recorded != expected {
            complaints.push(format!(
                "{job} at stage {stage}: {recorded:?} is recorded, not {expected:?}"
            ));
        }
        before = Some(stage);
    }
}

fn events_of(job: &str, events: &[&Event], transitions: usize, complaints: &mut Complaints) {
    for (number, event) in (1..).zip(events) {
        if event.sequence != number {
            complaints.push(format!("the events of {job} have a gap at {number}"));
            return;
        }
    }
    let numbers = events
        .iter()
        .filter(|event| event.kind == "job.step_changed")
        .map(|event| {
            let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
            body["data"]["transition"]["seq"].as_u64().unwrap_or(0)
        });
    if !numbers.eq(1..=transitions as u64) {
        complaints.push(format!(
            "{job} has not one event for each of its {transitions} transitions"
        ));
    }
    let ends = events.iter().filter(|event| is_end(&event.kind)).count();
    let is_last = events.last().is_some_and(|event| is_end(&event.kind));
    if ends > 1 || (ends == 1 && !is_last) {
        complaints.push(format!("{job} has {ends} ends, or goes on after its end"));
    }
}

/// Signed, the same bytes each time, in order, one at a time, and not again after it was accepted.
fn sending(seen: &Seen, tables: &Tables, complaints: &mut Complaints) {
    let mut bodies: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for post in &seen.posts {
        if !post.is_signed {
            complaints.push(format!(
                "the event {} was sent with a signature that is not valid",
                post.id
            ));
        }
        if *bodies.entry(&post.id).or_insert(&post.body) != post.body {
            complaints.push(format!("the event {} was sent with two bodies", post.id));
        }
    }
    let recorded = by_job(&tables.events, |event| &event.job);
    for (job, posts) in by_job(&seen.posts, |post| &post.job) {
        alone(
            job,
            "events",
            posts
                .iter()
                .map(|post| (post.start, post.began, post.ended)),
            complaints,
        );
        // When each sequence was accepted first.
        let mut accepted: BTreeMap<u64, &Post> = BTreeMap::new();
        for post in posts {
            if let Some(first) = accepted.get(&post.sequence)
                && first.start == post.start
                && first.ended < Some(post.began)
            {
                complaints.push(format!(
                    "{job}: event {} was sent again after it was accepted",
                    post.sequence
                ));
            }
            let lower = recorded
                .get(job)
                .into_iter()
                .flatten()
                .map(|event| event.sequence.unsigned_abs());
            let early = lower.filter(|lower| *lower < post.sequence).find(|lower| {
                let before = accepted.get(lower).and_then(|before| before.ended);
                before.is_none_or(|ended| ended > post.began)
            });
            if let Some(early) = early {
                complaints.push(format!(
                    "{job}: event {} was sent before event {early} was accepted",
                    post.sequence
                ));
            }
            if post.is_accepted() {
                accepted.entry(post.sequence).or_insert(post);
            }
        }
    }
}

/// One poll of a job at a time, and none once its end was recorded.
fn polling(seen: &Seen, complaints: &mut Complaints) {
    let mut ends: BTreeMap<&String, &Post> = BTreeMap::new();
    for post in seen.posts.iter().filter(|post| is_end(&post.kind)) {
        ends.entry(&post.job).or_insert(post);
    }
    for (job, polls) in by_job(&seen.polls, |poll| &poll.job) {
        alone(
            job,
            "polls",
            polls
                .iter()
                .map(|poll| (poll.start, poll.began, poll.ended)),
            complaints,
        );
        // What an earlier start of the daemon had sent may come late.
        let is_late = |poll: &&Poll| {
            ends.get(job)
                .is_some_and(|end| poll.began > end.began && poll.start >= end.start)
        };
        if polls.into_iter().any(|poll| is_late(&poll)) {
            complaints.push(format!("{job} was polled after its end"));
        }
    }
}

/// Of one start of the daemon each request begins after the one before has ended.
fn alone(
    job: &str,
    what: &str,
    requests: impl Iterator<Item = (u32, u64, Option<u64>)>,
    complaints: &mut Complaints,
) {
    let mut open: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for (start, began, ended) in requests {
        if let Some(before) = open.insert(start, ended)
            && before.is_none_or(|before| before > began)
        {
            complaints.push(format!("two {what} of {job} were in flight at once"));
        }
    }
}
