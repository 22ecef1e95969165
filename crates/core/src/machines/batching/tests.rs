use super::*;
use crate::answer::MAX_ANSWER;
use crate::cadence::Progress;
use crate::clock_jumps::ClockJumps;
use crate::delivery::{AfterAttempt, Attempt, Trigger};
use crate::dialect::Basiq;
use crate::observe::{Evidence, Tracked, observe};

mod properties;

fn at(millis: u64) -> Now {
    Now {
        monotonic: Monotonic::default().plus(Duration::from_millis(millis)),
        wall: UnixMillis(0).plus(Duration::from_millis(millis)),
        stability: ClockJumps::default().observe(Duration::ZERO, UnixMillis(0)),
    }
}

/// The observation of a job's first answer, whose only step has this status and result.
fn seen(id: &str, status: &str, result: &str) -> Recordable {
    let job = Tracked::blank(JobId::parse(id).unwrap(), UnixMillis(1));
    let body = format!(r#"{{"steps":[{{"title":"a","status":"{status}","result":{result}}}]}}"#);
    let evidence = Evidence::Snapshot(Basiq::snapshot(&body, None).unwrap());
    Recordable {
        observation: observe(&job, &evidence, UnixMillis(2), "https://a").unwrap(),
        webhooks: Vec::new(),
        schedule: ScheduleUpdate {
            job_id: job.id,
            created_at: job.created_at,
            progress: Progress::default(),
            next_poll_at: None,
        },
    }
}

fn attempt(number: u32) -> FinishedAttempt {
    FinishedAttempt {
        attempt: Attempt {
            event_id: "evt_1".to_owned(),
            webhook: WebhookName::new("w"),
            number,
            started_at: UnixMillis(1),
            duration_ms: 0,
            status: Some(410),
            error: None,
            trigger: Trigger::Schedule,
            answer: Some("x".repeat(MAX_ANSWER)),
            answer_cut: None,
        },
        job_id: JobId::parse("j").unwrap(),
        after: AfterAttempt::Delivered,
        pause: None,
        disables: None,
        fallback: None,
        health: None,
    }
}

/// The batches that the changes are put into.
fn gathered(changes: Vec<Change<()>>) -> Vec<Batch> {
    let mut batching = Batching::default();
    changes.into_iter().for_each(|change| batching.push(change));
    let batches = std::iter::from_fn(|| {
        batching.start(at(0))?;
        let done = batching.transactions.pop_front();
        done.map(|transaction| transaction.batch)
    });
    batches.collect()
}

fn bytes(batch: &Batch) -> usize {
    let observations = batch.observations.iter().map(Recordable::bytes);
    let attempts = batch.attempts.iter().map(FinishedAttempt::bytes);
    observations.chain(attempts).sum()
}

#[test]
fn a_transaction_holds_four_mebibytes_or_one_change_and_small_ones_wait_for_none_that_is_large() {
    let large = |n: usize, kib: usize| {
        let result = format!("\"{}\"", "x".repeat(kib << 10));
        let change = seen(&format!("large-{n}"), "in-progress", &result);
        Change::Seen(Box::new(change), ())
    };
    let small = |n: usize| {
        let change = seen(&format!("small-{n}"), "in-progress", "1");
        Change::Seen(Box::new(change), ())
    };
    // The result is held four times: in the text, the step, the transition and the event.
    let changes = (0..4)
        .map(|n| large(n, 900))
        .chain((4..6).map(|n| large(n, 450)))
        .chain((0..100).map(small));
    let batches = gathered(changes.collect());
    let sizes: Vec<usize> = batches
        .iter()
        .map(|batch| batch.observations.len())
        .collect();
    assert_eq!(sizes, [101, 1, 1, 1, 2]);
    assert!(batches.iter().all(|batch| bytes(batch) <= MAX_BATCH_BYTES));
    let beyond = gathered(vec![large(0, 5000), large(1, 1), small(0)]);
    let sizes: Vec<usize> = beyond
        .iter()
        .map(|batch| batch.observations.len())
        .collect();
    assert_eq!(sizes, [1, 2], "one that is too large by itself is alone");
}

#[test]
fn answers_of_webhooks_count() {
    let changes = (0..600).map(|n| Change::Attempted(Box::new(attempt(n)), ()));
    let batches = gathered(changes.collect());
    assert!(batches.iter().all(|batch| bytes(batch) <= MAX_BATCH_BYTES));
    let numbers = batches.iter().flat_map(|batch| &batch.attempts);
    assert!(
        numbers.map(|each| each.attempt.number).eq(0..600),
        "in order"
    );
    assert_eq!(batches.len(), 3);
}

#[test]
fn everything_a_change_holds_counts() {
    let text = "x".repeat(1000);
    let plain = seen("j", "in-progress", "1").bytes();
    let more = |status: &str, result: &str| seen("j", status, result).bytes() - plain;
    // The text, the step, the transition and the event.
    assert_eq!(more("in-progress", &format!("\"{text}\"")), 4 * 1001);
    let challenge = format!(r#"{{"type":"mfa","description":"{text}"}}"#);
    // Also the recorded challenge, and the challenge in its event beside the text.
    assert!(more("in-progress", &challenge) > 7 * 1000);
    // Also the failure, and its event with both.
    let error = format!(r#"{{"code":"{text}","title":"{text}","detail":"{text}"}}"#);
    assert!(more("failed", &error) > 7 * 3 * 1000);
    let mut with_webhooks = seen("j", "in-progress", "1");
    with_webhooks.webhooks = vec![vec![WebhookName::new("w"); 100]];
    assert_eq!(
        with_webhooks.bytes() - plain,
        size_of::<Vec<WebhookName>>() + 100 * size_of::<WebhookName>()
    );
}

type Effects = Vec<Effect<&'static str>>;

fn pushed(changes: Vec<Change<&'static str>>) -> Batching<&'static str> {
    let mut batching = Batching::default();
    changes.into_iter().for_each(|change| batching.push(change));
    batching
}

fn job(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

fn of_job(id: &'static str) -> Change<&'static str> {
    Change::Seen(Box::new(seen(id, "in-progress", "1")), id)
}

fn undelivered(event: &str) -> Undelivered {
    Undelivered {
        event_id: event.to_owned(),
        job_id: job("j"),
        webhook: WebhookName::new("w"),
        fallback: None,
    }
}

#[test]
fn after_a_commit_requests_are_woken_then_the_loops_are_answered_then_dispatchers_are_woken() {
    let mut batching = pushed(vec![
        of_job("b"),
        of_job("a"),
        of_job("stale"),
        Change::Attempted(Box::new(attempt(1)), "first"),
        Change::Attempted(Box::new(attempt(7)), "unexpected"),
        Change::Expired(vec![undelivered("evt_2")], "expired"),
        Change::Expired(Vec::new(), "nothing expired"),
    ]);
    let batch = batching.start(at(5)).unwrap();
    assert_eq!(batch.now, Some(UnixMillis(5)));
    let unexpected = ("evt_1".to_owned(), WebhookName::new("w"), 7);
    let effects = batching.committed(&Committed {
        recorded: [job("a"), job("b")].into(),
        webhooks: [WebhookName::new("w2"), WebhookName::new("w1")].into(),
        unexpected_attempts: [unexpected.clone()].into(),
    });
    let expected: Effects = vec![
        Effect::Notify(vec![job("b"), job("a")]),
        Effect::Answer("b", Recorded::Yes),
        Effect::Answer("a", Recorded::Yes),
        Effect::Answer("stale", Recorded::Stale),
        Effect::Answer("first", Recorded::Yes),
        Effect::Report(Report::UnexpectedAttempt(unexpected)),
        Effect::Answer("unexpected", Recorded::Stale),
        Effect::Answer("expired", Recorded::Yes),
        Effect::Answer("nothing expired", Recorded::Yes),
        Effect::Wake(WebhookName::new("w1")),
        Effect::Wake(WebhookName::new("w2")),
    ];
    assert_eq!(effects, expected);
    assert!(batching.start(at(5)).is_none() && batching.wake_at().is_none());
}

#[test]
fn what_cannot_be_written_now_is_tried_again_after_a_pause_and_each_change_of_state_shows() {
    let mut batching = pushed(vec![of_job("a")]);
    let full = Writable::DiskFull;
    for (millis, reason, shows) in [
        (0, full, true),
        (500, full, false),
        (1000, Writable::Locked, true),
        (1500, Writable::Short(Shortage::Memory), true),
    ] {
        let now = at(millis);
        assert_eq!(batching.start(now).unwrap().observations.len(), 1);
        let effects = batching.unwritable(reason, now.monotonic);
        assert_eq!(
            effects.as_slice(),
            &[Effect::Writable(reason)][..usize::from(shows)]
        );
        assert_eq!(batching.wake_at(), Some(at(millis + 500).monotonic));
        batching.push(of_job("b"));
        assert!(batching.start(at(millis + 499)).is_none());
    }
    assert_eq!(batching.start(at(2000)).unwrap().now, Some(UnixMillis(0)));
    let effects = batching.committed(&Committed::default());
    assert_eq!(effects.first(), Some(&Effect::Writable(Writable::Yes)));
    assert_eq!(
        batching.start(at(2000)).unwrap().observations.len(),
        1,
        "the next"
    );
}

#[test]
fn a_refusal_shows_that_the_database_can_be_written_again() {
    let mut batching = pushed(vec![of_job("a")]);
    batching.start(at(0)).unwrap();
    batching.unwritable(Writable::Locked, at(0).monotonic);
    batching.start(at(500)).unwrap();
    let expected: Effects = vec![
        Effect::Writable(Writable::Yes),
        Effect::Answer("a", Recorded::Refused("rule".to_owned())),
    ];
    assert_eq!(batching.refused("rule"), Ok(expected));
    assert!(batching.start(at(500)).is_none() && batching.wake_at().is_none());
}

#[test]
fn bookkeeping_that_a_rule_refuses_ends_the_process() {
    let mut batching = pushed(vec![
        of_job("a"),
        Change::PollRequestsTaken(vec![job("a")], 1),
    ]);
    batching.start(at(0)).unwrap();
    assert_eq!(batching.refused("rule"), Ok(Vec::new()));
    assert_eq!(batching.start(at(0)).unwrap().observations.len(), 1);
    batching.committed(&Committed::default());
    assert_eq!(batching.start(at(0)).unwrap().poll_requests_taken.len(), 1);
    assert_eq!(batching.refused("rule"), Err("rule".to_owned()));
}

#[test]
fn what_was_noticed_is_forgotten_with_the_next_transaction_and_pauses_of_two_apis_are_two() {
    let mut batching = pushed(vec![Change::ChangesSeen(7), Change::ChangesSeen(5)]);
    assert!(batching.start(at(0)).is_none(), "not worth a transaction");
    let paused = |origin: &str, at| Change::UpstreamPaused(origin.to_owned(), UnixMillis(at));
    for change in [paused("a", 1), paused("a", 2), paused("b", 3)] {
        batching.push(change);
    }
    let first = batching.start(at(0)).unwrap();
    assert_eq!(first.changes_seen, Some(7));
    assert_eq!(first.upstream_paused, Some(("a".to_owned(), UnixMillis(2))));
    batching.committed(&Committed::default());
    let second = batching.start(at(0)).unwrap();
    assert_eq!(second.changes_seen, None);
    assert_eq!(
        second.upstream_paused,
        Some(("b".to_owned(), UnixMillis(3)))
    );
}

#[test]
fn a_transaction_holds_a_thousand_changes_and_the_others_follow_in_order() {
    let mut batching = Batching::<()>::default();
    for number in 0..2500 {
        let id = job(&number.to_string());
        batching.push(Change::PollRequestsTaken(vec![id], 1));
    }
    let (mut sizes, mut ids) = (Vec::new(), Vec::new());
    while let Some(batch) = batching.start(at(0)) {
        sizes.push(batch.changes());
        ids.extend(batch.poll_requests_taken.iter().map(|(id, _)| id.clone()));
        batching.committed(&Committed::default());
    }
    assert_eq!(sizes, [1000, 1000, 500]);
    let expected = (0..2500).map(|number| job(&number.to_string()));
    assert!(ids.into_iter().eq(expected));
}
