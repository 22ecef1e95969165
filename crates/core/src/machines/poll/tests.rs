use std::sync::Arc;

use crate::cadence::Progress;
use crate::dialect::Basiq;
use crate::event::Subscriptions;
use crate::poll::{Trouble, TroubleClass};
use crate::time::{Monotonic, Stability, UnixMillis};

use super::*;

mod etags;

mod handed_on;

const NOON: UnixMillis = UnixMillis(1_795_359_845_000);

fn id() -> JobId {
    JobId::parse("j").unwrap()
}

fn at(seconds: u64) -> Now {
    let since = Duration::from_secs(seconds);
    Now {
        monotonic: Monotonic::default().plus(since),
        wall: NOON.plus(since),
        stability: Stability {
            jumps: 0,
            is_settled: true,
        },
    }
}

fn task(work: Work) -> Task {
    Task {
        id: id(),
        url: None,
        webhook: None,
        progress: Progress::default(),
        hash: Some(1),
        etag: None,
        is_whole: false,
        is_blank: false,
        created_at: NOON,
        deadline: NOON.plus(Duration::from_secs(3600)),
        lag: Duration::ZERO,
        work,
        settings: Arc::new(Settings {
            api_origin: "https://api.example".to_owned(),
            subscriptions: Subscriptions::default(),
            policy: PollingPolicy {
                jitter: 0.0,
                ..PollingPolicy::default()
            },
            max_retry_after: Duration::from_secs(600),
            heeds_retry_after: false,
        }),
    }
}

fn recorded_job() -> Tracked {
    Tracked::blank(id(), NOON)
}

fn answer(status: &str, updated: Option<&str>) -> PollOutcome {
    let updated = updated.map_or(String::new(), |at| format!(r#""updated":"{at}","#));
    let text =
        format!(r#"{{{updated}"steps":[{{"title":"a","status":"{status}","result":null}}]}}"#);
    PollOutcome::Snapshot {
        snapshot: Box::new(Basiq::snapshot(&text, None).unwrap()),
        hash: 2,
    }
}

fn polled(outcome: PollOutcome, retry_after: Option<u64>) -> Input {
    Input::Polled(Poll {
        outcome,
        retry_after: retry_after.map(Duration::from_secs),
        requests: 1,
        etag: None,
    })
}

/// Takes the inputs one after the other; the last must end the poll.
#[track_caller]
fn finished(task: Task, inputs: Vec<(u64, Input)>) -> Finished {
    let (mut machine, mut step) = Machine::begin(task);
    for (seconds, input) in inputs {
        step = machine.handle(input, at(seconds), &mut || 0.5);
    }
    match step {
        Step::Done(finished) => *finished,
        step => panic!("not over: {step:?}"),
    }
}

fn secs(seconds: u64) -> Next {
    Next::After(Duration::from_secs(seconds))
}

fn detail() -> String {
    "why".to_owned()
}

fn trouble() -> PollOutcome {
    PollOutcome::Trouble(Trouble {
        class: TroubleClass::Timeout,
        detail: detail(),
    })
}

#[test]
fn each_outcome_without_the_job_delays_the_job_or_waits_for_the_gate() {
    let refused = || PollOutcome::CredentialsRefused { detail: detail() };
    let unsent = PollOutcome::NotSent { detail: detail() };
    let forbidden = PollOutcome::Forbidden {
        status: 403,
        detail: detail(),
    };
    let throttled = || PollOutcome::Throttled { status: 429 };
    for (outcome, retry_after, next, pause, errors) in [
        (
            PollOutcome::Unchanged,
            None,
            Next::After(Duration::from_millis(1500)),
            0,
            0,
        ),
        (PollOutcome::Unchanged, Some(20), secs(20), 0, 0),
        (PollOutcome::Gone { status: 404 }, None, secs(1), 0, 1),
        (throttled(), None, secs(1), 0, 1),
        (throttled(), Some(90), secs(90), 90, 1),
        (throttled(), Some(999_999), secs(600), 600, 1),
        (forbidden, None, secs(1), 0, 1),
        (trouble(), Some(7), secs(7), 7, 1),
        (refused(), None, Next::WhenOpen, 0, 0),
        (refused(), Some(30), secs(30), 0, 0),
        (unsent, None, Next::WhenOpen, 0, 0),
    ] {
        let case = format!("{outcome:?}, {retry_after:?}");
        let over = finished(task(Work::Poll), vec![(0, polled(outcome, retry_after))]);
        assert_eq!((over.next, over.pause.as_secs()), (next, pause), "{case}");
        assert_eq!(over.progress.consecutive_errors, errors, "{case}");
        assert_eq!(over.progress.polls, 1, "{case}");
        assert_eq!(over.hash, Some(1), "{case}");
        assert!(!over.ended, "{case}");
    }
}

#[test]
fn after_the_deadline_a_poll_that_fails_is_tried_again_within_fifteen_seconds() {
    let mut late = task(Work::Poll);
    late.progress.consecutive_errors = 8;
    let over = finished(late, vec![(3600, polled(trouble(), None))]);
    assert_eq!(over.next, secs(15));
}

#[test]
fn an_answer_is_recorded_and_counts_as_unchanged_from_then_on() {
    let (mut machine, step) = Machine::begin(task(Work::Poll));
    assert!(matches!(step, Step::Request));
    let step = machine.handle(polled(answer("pending", None), None), at(0), &mut || 0.5);
    assert!(matches!(step, Step::ReadTracked));
    let tracked = Input::Tracked(Ok(Some(recorded_job())));
    let Step::Record(recordable) = machine.handle(tracked, at(0), &mut || 0.5) else {
        panic!("not recorded");
    };
    let due = NOON.plus(Duration::from_secs(1));
    assert_eq!(recordable.schedule.next_poll_at, Some(due));
    assert_eq!(recordable.observation.transitions.len(), 1);
    let step = machine.handle(Input::Recorded(Recorded::Yes), at(0), &mut || 0.5);
    let Step::Done(over) = step else {
        panic!("not over");
    };
    assert_eq!(
        (over.next, over.hash, over.is_current),
        (secs(1), Some(2), true)
    );
}

#[test]
fn what_was_not_recorded_is_polled_again_and_does_not_count_as_unchanged() {
    let seen = || (0, polled(answer("pending", None), None));
    let tracked = |job: Tracked| (0, Input::Tracked(Ok(Some(job))));
    let of = |inputs| finished(task(Work::Poll), inputs);
    let replaced = Tracked {
        created_at: UnixMillis(NOON.0 + 1),
        ..recorded_job()
    };
    let ended = Tracked {
        state: JobState::Failed,
        ..recorded_job()
    };
    let stale = (0, Input::Recorded(Recorded::Stale));
    let refused = (0, Input::Recorded(Recorded::Refused(detail())));
    for (over, next, errors, reports) in [
        (of(vec![seen(), tracked(replaced)]), Next::Reread, 0, 0),
        (of(vec![seen(), tracked(ended)]), Next::Forget, 0, 0),
        (
            of(vec![seen(), (0, Input::Tracked(Ok(None)))]),
            Next::Forget,
            0,
            1,
        ),
        (
            of(vec![seen(), (0, Input::Tracked(Err(detail())))]),
            secs(1),
            1,
            1,
        ),
        (
            of(vec![seen(), tracked(recorded_job()), stale]),
            Next::Reread,
            0,
            0,
        ),
        (
            of(vec![seen(), tracked(recorded_job()), refused]),
            secs(1),
            1,
            1,
        ),
    ] {
        assert_eq!(over.next, next, "{over:?}");
        assert_eq!(over.progress.consecutive_errors, errors, "{over:?}");
        assert_eq!(over.reports.len(), reports, "{over:?}");
        assert_eq!((over.hash, over.is_current), (Some(1), false), "{over:?}");
    }
}

#[test]
fn an_older_answer_is_not_recorded_until_it_came_three_times() {
    let recorded = Tracked {
        state: JobState::InProgress,
        remote_updated: Some("2026-11-22T15:04:05Z".to_owned()),
        ..recorded_job()
    };
    let mut next = task(Work::Poll);
    for time in 1..=3 {
        let (mut machine, _) = Machine::begin(next.clone());
        let old = answer("pending", Some("2026-11-22T15:04:04Z"));
        machine.handle(polled(old, None), at(time), &mut || 0.5);
        let tracked = Input::Tracked(Ok(Some(recorded.clone())));
        match machine.handle(tracked, at(time), &mut || 0.5) {
            Step::Done(over) => {
                assert!(time < 3);
                assert_eq!((over.hash, over.is_current), (Some(1), false));
                next.progress = over.progress;
            }
            Step::Record(_) => assert_eq!(time, 3),
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn older_answers_with_a_newer_one_between_are_counted_anew() {
    let recorded = Tracked {
        state: JobState::InProgress,
        remote_updated: Some("2026-11-22T15:04:05Z".to_owned()),
        ..recorded_job()
    };
    let mut next = task(Work::Poll);
    for second in [4, 4, 5, 4, 4] {
        let (mut machine, _) = Machine::begin(next.clone());
        let updated = format!("2026-11-22T15:04:0{second}Z");
        let seen = answer("pending", Some(&updated));
        machine.handle(polled(seen, None), at(1), &mut || 0.5);
        let tracked = Input::Tracked(Ok(Some(recorded.clone())));
        let over = match machine.handle(tracked, at(1), &mut || 0.5) {
            Step::Record(_) if second == 5 => {
                machine.handle(Input::Recorded(Recorded::Yes), at(1), &mut || 0.5)
            }
            other => other,
        };
        match over {
            Step::Done(over) => next.progress = over.progress,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn the_same_answer_as_before_a_restart_is_not_recorded_again() {
    let text = r#"{"steps":[{"title":"a","status":"pending","result":null}]}"#;
    let first = observe(
        &recorded_job(),
        &Evidence::Snapshot(Basiq::snapshot(text, None).unwrap()),
        NOON,
        "",
    )
    .unwrap();
    let recorded = recorded_job().after(&first);
    let mut begun = task(Work::Poll);
    begun.hash = None;
    begun.progress.polls = 1;
    let (mut machine, step) = Machine::begin(begun);
    assert!(matches!(step, Step::ReadRow));
    let step = machine.handle(Input::Row(Err(detail())), at(0), &mut || 0.5);
    assert!(matches!(step, Step::Request), "a damaged row may be polled");
    machine.handle(polled(answer("pending", None), None), at(0), &mut || 0.5);
    let tracked = Input::Tracked(Ok(Some(recorded)));
    let Step::Done(over) = machine.handle(tracked, at(0), &mut || 0.5) else {
        panic!("recorded again");
    };
    assert_eq!((over.hash, over.is_current), (Some(2), true));
}

#[test]
fn a_job_that_is_gone_before_its_first_poll_is_not_requested() {
    let ended = Tracked {
        state: JobState::Failed,
        ..recorded_job()
    };
    for (polls, found) in [
        (0, Input::Tracked(Ok(None))),
        (0, Input::Tracked(Ok(Some(ended)))),
        (1, Input::Row(Ok(None))),
    ] {
        let mut begun = task(Work::Poll);
        begun.hash = None;
        begun.progress.polls = polls;
        let over = finished(begun, vec![(0, found)]);
        assert_eq!((over.next, over.progress.polls), (Next::Forget, polls));
    }
}

#[test]
fn a_job_that_was_never_polled_is_read_once() {
    let mut begun = task(Work::Poll);
    begun.hash = None;
    let (mut machine, step) = Machine::begin(begun);
    assert!(matches!(step, Step::ReadTracked));
    let tracked = Input::Tracked(Ok(Some(recorded_job())));
    let step = machine.handle(tracked, at(0), &mut || 0.5);
    assert!(matches!(step, Step::Request) && !machine.had_answer());
    let step = machine.handle(polled(answer("pending", None), None), at(0), &mut || 0.5);
    assert!(matches!(step, Step::Record(_)) && machine.had_answer());
}

#[test]
fn nothing_is_read_of_a_blank_job_before_its_first_answer_is_recorded() {
    let cancelled = Failure::decided(FailureKind::Cancelled, "Cancelled", detail());
    for over in [
        polled(answer("pending", None), None),
        Input::Cut(cancelled, 1),
    ] {
        let mut blank = task(Work::Poll);
        (blank.hash, blank.is_blank) = (None, true);
        let (mut machine, step) = Machine::begin(blank);
        assert!(matches!(step, Step::Request) && !machine.had_answer());
        let step = machine.handle(over, at(0), &mut || 0.5);
        let Step::Record(recordable) = step else {
            panic!("not recorded: {step:?}");
        };
        assert_eq!(recordable.observation.revision, 0);
        assert_eq!(recordable.observation.created_at, NOON);
    }
}

#[test]
fn four_ways_lead_to_an_end_by_our_own_decision() {
    let cancelled = Failure::decided(FailureKind::Cancelled, "Cancelled", detail());
    let mut absent = task(Work::Poll);
    absent.progress.not_found_since = Some(NOON);
    let rejected = PollOutcome::Rejected { detail: detail() };
    let gone = PollOutcome::Gone { status: 410 };
    for (task, first, kind, requests) in [
        (
            task(Work::End(cancelled.clone())),
            None,
            FailureKind::Cancelled,
            0,
        ),
        (
            task(Work::Poll),
            Some(Input::Cut(cancelled, 2)),
            FailureKind::Cancelled,
            2,
        ),
        (
            task(Work::Poll),
            Some(Input::UrlRefused(detail())),
            FailureKind::Rejected,
            0,
        ),
        (
            task(Work::Poll),
            Some(polled(rejected, None)),
            FailureKind::Rejected,
            1,
        ),
        (absent, Some(polled(gone, None)), FailureKind::NotFound, 1),
    ] {
        let (mut machine, mut step) = Machine::begin(task);
        if let Some(input) = first {
            step = machine.handle(input, at(120), &mut || 0.5);
        }
        assert!(matches!(step, Step::ReadTracked), "{kind:?}: {step:?}");
        let tracked = Input::Tracked(Ok(Some(recorded_job())));
        let Step::Record(recordable) = machine.handle(tracked, at(120), &mut || 0.5) else {
            panic!("{kind:?}: not recorded");
        };
        let failure = recordable.observation.failure.as_ref();
        assert_eq!(failure.map(|failure| failure.kind), Some(kind));
        assert_eq!(recordable.schedule.next_poll_at, None);
        assert_eq!(recordable.schedule.progress.polls, requests, "{kind:?}");
        let step = machine.handle(Input::Recorded(Recorded::Yes), at(120), &mut || 0.5);
        assert!(matches!(step, Step::Done(over) if over.next == Next::Forget));
    }
}

#[test]
fn right_after_the_clock_was_set_a_job_that_is_not_found_keeps_its_grace() {
    let mut absent = task(Work::Poll);
    absent.progress.not_found_since = Some(NOON);
    let mut now = at(3000);
    now.stability.is_settled = false;
    let (mut machine, _) = Machine::begin(absent);
    let gone = polled(PollOutcome::Gone { status: 404 }, None);
    assert!(matches!(
        machine.handle(gone, now, &mut || 0.5),
        Step::Done(_)
    ));
}
