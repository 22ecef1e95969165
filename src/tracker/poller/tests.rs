use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::core::cadence::Progress;
use crate::store::JobRow;
use crate::tracker::poll::PollState;
use crate::upstream::{Auth, UpstreamSettings};
use crate::writer::wakeups::Wakeups;
use crate::writer::{Writer, recorder};

/// A poller of an API that does not answer, over a real file.
struct Alone {
    poller: Poller,
    store: Store,
    writer: Writer,
    _notices: mpsc::Sender<Notice>,
    _settings: watch::Sender<PollerSettings>,
    _folder: TempDir,
}

impl Alone {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, jitter) = (Clock::system(), Jitter::seeded(1));
        let file: &Path = &folder.path().join("jobs.db");
        let store = Store::create_or_migrate(file, clock.clone()).await.unwrap();
        let (recorder, writer) = recorder(store.clone(), clock.clone(), Wakeups::default());
        let upstream = UpstreamSettings {
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            auth: Auth::None,
            timeout: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(1),
            max_in_flight: 1,
            requests_per_second: None,
        };
        let settings = watch::Sender::new(PollerSettings {
            upstream: Upstream::new(
                &upstream,
                clock.clone(),
                jitter.clone(),
                Default::default(),
                Default::default(),
            )
            .unwrap(),
            api_origin: "http://127.0.0.1:9".to_owned(),
            subscriptions: Subscriptions::default(),
            policy: PollingPolicy::default(),
            max_in_flight: 1,
        });
        let parts = PollerParts {
            store: store.clone(),
            recorder,
            clock,
            jitter,
        };
        let (notices, noticed) = mpsc::channel(1);
        Self {
            poller: Poller::new(parts, settings.subscribe(), noticed),
            store,
            writer,
            _notices: notices,
            _settings: settings,
            _folder: folder,
        }
    }

    /// The row of a job that is inserted now.
    async fn inserted(&self, id: &JobId) -> JobRow {
        let job = crate::store::NewJob {
            id: id.to_string(),
            ..Default::default()
        };
        assert!(self.store.enqueue(&job).await.unwrap());
        self.store.job(id).await.unwrap().unwrap()
    }

    /// Puts a job into the state of a poll in flight.
    fn polling(&mut self, id: &JobId) {
        let job = self.poller.jobs.get_mut(id).unwrap();
        job.state = State::Polling {
            end: None,
            then: Then::Nothing,
            is_final: false,
        };
    }
}

fn polled(id: &JobId, next: Next) -> Result<Result<Polled, PollError>, tokio::task::JoinError> {
    Ok(Ok(Polled {
        id: id.clone(),
        poll_state: PollState {
            progress: Progress::default(),
            hash: None,
            is_current: true,
            pause: Duration::ZERO,
        },
        ended: false,
        next,
    }))
}

#[tokio::test]
async fn a_job_that_is_inserted_again_while_the_old_one_ends_is_followed() {
    let id = JobId::parse("j").unwrap();
    let later = Next::After(Duration::from_secs(1));
    for (next, ending) in [(Next::Forget, false), (later.clone(), false), (later, true)] {
        let mut alone = Alone::new().await;
        let old = alone.inserted(&id).await;
        let new = JobRow {
            created_at: UnixMillis(old.created_at.0 + 1),
            webhook: Some("new".to_owned()),
            ..old.clone()
        };
        alone.poller.adopt(old, Duration::ZERO);
        if ending {
            let failure = Failure::decided(FailureKind::Cancelled, "", String::new());
            alone.poller.end(&id, failure);
            alone.poller.adopt(new, Duration::ZERO);
        } else {
            alone.polling(&id);
            alone.poller.adopt(new, Duration::ZERO);
            alone.poller.finish(polled(&id, next)).await.unwrap();
        }
        let job = &alone.poller.jobs[&id];
        assert_eq!(job.webhook.as_deref(), Some("new"));
        assert!(matches!(job.state, State::Scheduled(_)), "{:?}", job.state);
    }
}

#[tokio::test]
async fn a_change_of_the_same_row_while_its_job_ends_follows_nothing() {
    let id = JobId::parse("j").unwrap();
    let mut alone = Alone::new().await;
    let row = alone.inserted(&id).await;
    alone.poller.adopt(row.clone(), Duration::ZERO);
    alone.polling(&id);
    alone.poller.adopt(row, Duration::ZERO);
    alone
        .poller
        .finish(polled(&id, Next::Forget))
        .await
        .unwrap();
    assert!(alone.poller.jobs.is_empty());
}

#[tokio::test]
async fn the_end_of_a_row_that_was_replaced_is_not_that_of_the_new_one() {
    let id = JobId::parse("j").unwrap();
    let mut alone = Alone::new().await;
    let new = alone.inserted(&id).await;
    let old = JobRow {
        created_at: UnixMillis(new.created_at.0 - 1),
        ..new.clone()
    };
    alone.poller.adopt(old, Duration::ZERO);
    let failure = Failure::decided(FailureKind::Cancelled, "", String::new());
    alone.poller.end(&id, failure);
    alone.poller.start_ends();
    // Without the writer every record fails.
    drop(alone.writer);
    let ended = alone.poller.tasks.join_next().await.unwrap();
    alone.poller.finish(ended).await.unwrap();
    assert_eq!(alone.poller.jobs[&id].created_at, new.created_at);
}

#[tokio::test]
async fn a_next_poll_recorded_by_a_clock_that_was_ahead_is_cut_to_the_longest_delay() {
    let policy = PollingPolicy::default();
    let jittered = |delay: Duration| delay.mul_f64(1.0 + policy.jitter);
    let running = Progress::default();
    let erring = Progress {
        consecutive_errors: 1,
        ..Progress::default()
    };
    let queued = Progress {
        queued: true,
        ..Progress::default()
    };
    for (progress, longest) in [
        (running, policy.max_delay),
        (erring, policy.error_max_delay),
        (queued, policy.queued_delay),
    ] {
        let id = JobId::parse("j").unwrap();
        let mut alone = Alone::new().await;
        let mut row = alone.inserted(&id).await;
        let wall = alone.poller.context.clock.now();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        row.next_poll_at = Some(wall.plus(year));
        row.progress = progress;
        alone.poller.adopt(row, Duration::ZERO);
        let wait = alone.poller.jobs[&id].next_poll_at.since(wall);
        let over = wait.checked_sub(jittered(longest));
        assert!(over < Some(Duration::from_secs(60)), "{wait:?}");
        assert!(over.is_some());
        assert!(alone.poller.unwritten.contains(&id), "it is recorded");
    }
}
