use tempfile::TempDir;

use super::batching::MAX_BATCH_BYTES;
use super::*;
use crate::core::answer::MAX_ANSWER;
use crate::core::delivery::{AfterAttempt, Attempt, Trigger, WebhookName};
use crate::core::job::JobState;
use crate::core::observe::{Evidence, Tracked, observe};
use crate::core::resource::Snapshot;
use crate::store::NewDelivery;

async fn writer() -> (Writer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("jobs.db"), Clock::system());
    let store = Store::create_or_migrate(&file, clock.clone()).await;
    (
        recorder(store.unwrap(), clock, Wakeups::default()).1,
        folder,
    )
}

/// The observation of a job's first answer, whose only step has this status and result.
fn seen(id: &str, status: &str, result: &str) -> Recordable {
    let job = Tracked {
        id: JobId::parse(id).unwrap(),
        state: JobState::Pending,
        revision: 0,
        created_at: UnixMillis(1),
        metadata: None,
        resource: None,
        steps: Vec::new(),
        last_seq: 0,
        last_sequence: 0,
        event_bytes: 0,
        limited: false,
    };
    let body = format!(r#"{{"steps":[{{"title":"a","status":"{status}","result":{result}}}]}}"#);
    let evidence = Evidence::Snapshot(Snapshot::parse(&body, None).unwrap());
    Recordable {
        observation: observe(&job, &evidence, UnixMillis(2), "https://a").unwrap(),
        deliveries: Vec::new(),
        schedule: ScheduleUpdate {
            job_id: job.id,
            progress: crate::core::cadence::Progress::default(),
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
fn gathered(writer: &mut Writer, mut next: Vec<Change>) -> Vec<Batch> {
    let mut batches = Vec::new();
    while !next.is_empty() {
        let mut later = Vec::new();
        batches.push(gather(&mut next, &mut later, &mut writer.changes_seen).batch);
        next = later;
    }
    batches
}

fn bytes(batch: &Batch) -> usize {
    let observations = batch.observations.iter().map(Recordable::bytes);
    let attempts = batch.attempts.iter().map(FinishedAttempt::bytes);
    observations.chain(attempts).sum()
}

#[tokio::test]
async fn a_transaction_holds_four_mebibytes_or_one_change_and_small_ones_wait_for_none_that_is_large()
 {
    let (mut writer, _folder) = writer().await;
    let large = |n: usize, kib: usize| {
        let result = format!("\"{}\"", "x".repeat(kib << 10));
        Change::Seen(
            Box::new(seen(&format!("large-{n}"), "in-progress", &result)),
            oneshot::channel().0,
        )
    };
    let small = |n: usize| {
        let change = seen(&format!("small-{n}"), "in-progress", "1");
        Change::Seen(Box::new(change), oneshot::channel().0)
    };
    // The result is held four times: in the text, the step, the transition and the event.
    let changes = (0..4)
        .map(|n| large(n, 900))
        .chain((4..6).map(|n| large(n, 450)))
        .chain((0..100).map(small));
    let batches = gathered(&mut writer, changes.collect());
    let sizes: Vec<usize> = batches
        .iter()
        .map(|batch| batch.observations.len())
        .collect();
    assert_eq!(sizes, [101, 1, 1, 1, 2]);
    assert!(batches.iter().all(|batch| bytes(batch) <= MAX_BATCH_BYTES));
    let beyond = gathered(&mut writer, vec![large(0, 5000), large(1, 1), small(0)]);
    let sizes: Vec<usize> = beyond
        .iter()
        .map(|batch| batch.observations.len())
        .collect();
    assert_eq!(sizes, [1, 2], "one that is too large by itself is alone");
}

#[tokio::test]
async fn answers_of_webhooks_count() {
    let (mut writer, _folder) = writer().await;
    let changes = (0..600).map(|n| Change::Attempted(Box::new(attempt(n)), oneshot::channel().0));
    let batches = gathered(&mut writer, changes.collect());
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
    let mut with_deliveries = seen("j", "in-progress", "1");
    with_deliveries.deliveries = vec![
        NewDelivery {
            event_id: "evt_1".to_owned(),
            sequence: 1,
            webhook: WebhookName::new("w"),
            expires_at: None,
        };
        100
    ];
    assert_eq!(
        with_deliveries.bytes() - plain,
        100 * size_of::<NewDelivery>()
    );
}
