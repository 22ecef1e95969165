//! When a poll asks with an entity tag, and which one is kept.

use super::*;
use crate::etag::Etag;

fn etag(text: &str) -> Option<Etag> {
    let value = http::HeaderValue::from_str(text).unwrap();
    Etag::of(
        200,
        &http::HeaderMap::from_iter([(http::header::ETAG, value)]),
    )
}

/// A poll of a job whose last recorded answer had the tag `"1"`; `polls` were made before.
fn known(polls: u64) -> Task {
    let mut task = task(Work::Poll);
    task.etag = etag("\"1\"");
    task.progress.polls = polls;
    task
}

fn tagged(outcome: PollOutcome) -> Input {
    Input::Polled(Poll {
        outcome,
        retry_after: None,
        requests: 1,
        etag: etag("\"2\""),
    })
}

#[test]
fn a_poll_asks_with_the_tag_of_what_is_recorded_unless_its_answer_is_to_be_whole() {
    let asks = |task: Task| Machine::begin(task).0.if_none_match().cloned();
    assert_eq!(asks(known(1)), etag("\"1\""));
    assert_eq!(asks(known(9)), etag("\"1\""));
    assert_eq!(asks(known(0)), None);
    assert_eq!(asks(known(10)), None, "one in ten");
    let mut whole = known(1);
    whole.is_whole = true;
    assert_eq!(asks(whole), None);
    let mut unrecorded = known(1);
    unrecorded.hash = None;
    assert_eq!(asks(unrecorded), None);
    assert_eq!(asks(task(Work::Poll)), None);
}

#[test]
fn a_304_is_a_good_poll_that_leaves_everything_as_it_was() {
    let mut queued = known(3);
    queued.progress.queued = true;
    queued.progress.consecutive_errors = 2;
    queued.progress.not_found_since = Some(NOON);
    queued.progress.stale = Some((7, 2));
    let quiet = queued.progress.quiet_polls;
    let over = finished(queued, vec![(0, polled(PollOutcome::NotModified, None))]);
    assert_eq!(over.next, secs(7200), "the job is still queued");
    assert!(over.is_current && !over.is_recorded);
    assert_eq!((over.hash, over.etag), (Some(1), etag("\"1\"")));
    let progress = over.progress;
    assert_eq!((progress.polls, progress.quiet_polls), (4, quiet + 1));
    assert_eq!(progress.consecutive_errors, 0);
    assert_eq!((progress.not_found_since, progress.stale), (None, None));

    let asked = vec![(0, polled(PollOutcome::NotModified, Some(20)))];
    assert_eq!(finished(known(3), asked).next, secs(20));
}

#[test]
fn the_tag_of_an_answer_is_kept_once_that_is_recorded() {
    let tracked = || (0, Input::Tracked(Ok(Some(recorded_job()))));
    let recorded = |recorded| (0, Input::Recorded(recorded));
    let seen = || (0, tagged(answer("pending", None)));
    let failed = Input::Tracked(Err(detail()));
    let of = |inputs| finished(known(3), inputs).etag;
    let yes = vec![seen(), tracked(), recorded(Recorded::Yes)];
    assert_eq!(of(yes), etag("\"2\""));
    let refused = vec![seen(), tracked(), recorded(Recorded::Refused(detail()))];
    assert_eq!(of(refused), etag("\"1\""));
    assert_eq!(of(vec![seen(), (0, failed)]), etag("\"1\""));
    assert_eq!(of(vec![(0, tagged(trouble()))]), etag("\"1\""));
    // The same bytes as are recorded, with another tag or without one.
    assert_eq!(of(vec![(0, tagged(PollOutcome::Unchanged))]), etag("\"2\""));
    assert_eq!(of(vec![(0, polled(PollOutcome::Unchanged, None))]), None);
}

#[test]
fn the_tag_of_a_stale_answer_is_not_kept() {
    let newer = Tracked {
        state: JobState::InProgress,
        remote_updated: Some("2026-11-22T15:04:05Z".to_owned()),
        ..recorded_job()
    };
    let old = answer("pending", Some("2026-11-22T15:04:04Z"));
    let inputs = vec![(0, tagged(old)), (0, Input::Tracked(Ok(Some(newer))))];
    let over = finished(known(3), inputs);
    assert_eq!((over.hash, over.etag), (Some(1), etag("\"1\"")));
    assert!(!over.is_current);
}
