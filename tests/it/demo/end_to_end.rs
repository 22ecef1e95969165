//! The demo's jobs with the daemon as a process, and every promise held against three independent records: what the API
//! showed, what the daemon recorded, and what the webhooks received.

use jobtrackd::cli::demo::{AUDIT, BILLING, DemoJob, Driver, Sandbox, jobs};
use std::process::Stdio;

use jobtrackd::clock::Clock;
use jobtrackd::core::event::EventType;
use jobtrackd::core::job::JobId;
use jobtrackd::simulator::{LoggedRequest, Received, Truth};
use jobtrackd::store::{
    EventFilter, Events as _, JobDetail, Jobs as _, PAGE_BYTES, RecordedEvent, Store, TimelineItem,
    Timelines as _, TransitionRow,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::Instant;

use super::{PACE, PATIENCE, PROGRAM, checks};
use crate::support::waiting::found;

/// The fewest tokens the daemon must have asked for: the first lives only for a part of the demo.
const TOKENS: u64 = 2;

/// Most entries that are read at once.
const PAGE: u32 = 500;

/// What is known of one job.
pub(super) struct Case {
    pub(super) job: DemoJob,
    pub(super) detail: JobDetail,
    /// Its transitions, with their results.
    pub(super) transitions: Vec<TransitionRow>,
    /// Its events, with their bodies.
    pub(super) events: Vec<RecordedEvent>,
    /// `None` when the API knows no such job.
    pub(super) truth: Option<Truth>,
    /// What the API was asked about it.
    pub(super) requests: Vec<LoggedRequest>,
    /// What reached the webhooks about it.
    pub(super) received: Vec<Received>,
}

impl Case {
    async fn of(job: DemoJob, sandbox: &Sandbox, store: &Store) -> Self {
        let control = sandbox.simulator.control();
        let remote = job.remote_id();
        let id = JobId::parse(job.id).unwrap();
        let timeline = store.timeline(&id, None, PAGE).await.unwrap().unwrap();
        let filter = EventFilter {
            job: Some(id.clone()),
            limit: PAGE,
            bytes: PAGE_BYTES,
            ..EventFilter::default()
        };
        let events = store.events(&filter).await.unwrap();
        assert!(!timeline.more && events.complete, "{id} fits a page");
        let mut requests = control.requests();
        requests.retain(|request| request.job.as_deref() == Some(remote));
        let mut received = sandbox.receiver.inbox().received();
        received.retain(|request| request.job == job.id);
        let transition = |what| match what {
            TimelineItem::Transition(transition) => Some(transition),
            _ => None,
        };
        let transitions = timeline
            .entries
            .into_iter()
            .filter_map(|entry| transition(entry.item));
        Self {
            detail: store.detail(&id).await.unwrap().unwrap(),
            transitions: transitions.collect(),
            events: events.events,
            truth: control.truth(remote),
            requests,
            received,
            job,
        }
    }

    /// The events of this job that this webhook wants, by the rules of the contract.
    pub(super) fn due_at(&self, hook: &str) -> Vec<&RecordedEvent> {
        let is_elsewhere = self.job.webhook.is_some_and(|only| only != hook);
        let wants = |kind: EventType| match hook {
            _ if is_elsewhere => false,
            AUDIT => true,
            BILLING => EventType::DEFAULT.contains(&kind),
            _ => false,
        };
        self.events
            .iter()
            .filter(|event| wants(event.kind))
            .collect()
    }

    /// The requests that reached this webhook.
    pub(super) fn received_at(&self, hook: &str) -> impl Iterator<Item = &Received> {
        self.received
            .iter()
            .filter(move |request| request.hook == hook)
    }

    /// How many events of this type there are.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.events
            .iter()
            .filter(|event| event.kind.as_str() == kind)
            .count()
    }
}

#[tokio::test]
async fn a_daemon_keeps_every_promise_for_every_kind_of_job_through_every_fault() {
    let sandbox = Sandbox::start(PACE, None, false).await.unwrap();
    let (file, database) = (
        sandbox.config_file(),
        sandbox.settings().unwrap().database.path,
    );
    let mut daemon = Command::new(PROGRAM)
        .env_clear()
        .arg("--config")
        .args([file.as_os_str(), "run".as_ref()])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let opened = async || Store::open(&database, Clock::system()).await.ok();
    let store = found(PATIENCE, opened)
        .await
        .expect("the daemon makes its database");
    let mut driver = Driver::new(&sandbox, store.clone());
    let mut over_since = None;
    let over = async || {
        driver.step(|_| {}).await.unwrap();
        if !driver.is_over().await.unwrap() {
            return None;
        }
        let since = *over_since.get_or_insert_with(Instant::now);
        (since.elapsed() >= sandbox.quiet_time()).then_some(())
    };
    found(PATIENCE, over)
        .await
        .expect("every job ends and every event is delivered");
    let mut cases = Vec::new();
    for job in jobs() {
        cases.push(Case::of(job, &sandbox, &store).await);
    }
    let pid = Pid::from_raw(daemon.id().unwrap().try_into().unwrap());
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    let ended = found(PATIENCE, async || daemon.try_wait().unwrap()).await;
    assert_eq!(ended.expect("it stops").code(), Some(0));

    let problems: Vec<String> = cases.iter().flat_map(checks::problems).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    check_peers(&sandbox, &cases);
    store.close().await;
}

/// Every signature is right, every fault happened, and an expired token was replaced.
fn check_peers(sandbox: &Sandbox, cases: &[Case]) {
    let (control, inbox) = (sandbox.simulator.control(), sandbox.receiver.inbox());
    let received = inbox.received();
    let of_jobs: usize = cases.iter().map(|case| case.received.len()).sum();
    assert_eq!(received.len(), of_jobs, "every request belongs to a job");
    for request in &received {
        assert_eq!(
            request.signature,
            Ok(()),
            "{} at {}",
            request.id,
            request.hook
        );
    }
    assert!(control.faults().is_empty(), "{:?}", control.faults());
    assert!(inbox.replies().is_empty(), "{:?}", inbox.replies());
    assert!(control.totals().tokens >= TOKENS);
    let mut requests = cases.iter().flat_map(|case| &case.requests);
    assert!(
        requests.any(|request| request.status == Some(403)),
        "an expired token was used"
    );
}
