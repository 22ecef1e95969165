//! One poll of one job, carried out: what `core::machines::poll` asks for is requested, read and recorded, with no transaction
//! open during the request.

pub(super) mod log;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::reads::Reads;
use crate::clock::{Clock, Jitter};
use crate::core::job::Failure;
use crate::core::machines::poll::{Finished, Input, Machine, Step, Task, Work};
use crate::memory::Reservation;
use crate::store::{Recordable, Store, StoreError};
use crate::telemetry::{self, Recent};
use crate::upstream::{PollRequest, Upstream};
use crate::writer::{Recorded, Recorder, WriterGone};
use log::{Summary, UnknownWords};

/// What all polls share.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) reads: Arc<Reads>,
    pub(super) recorder: Recorder,
    pub(super) upstream: Upstream,
    pub(super) clock: Clock,
    pub(super) jitter: Jitter,
    pub(super) recent: Recent,
    pub(super) unknown_words: Arc<UnknownWords>,
}

/// Why a poll could not be finished; the process ends then.
#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    WriterGone(#[from] WriterGone),
}

/// A request that is over.
struct Requested {
    outcome: &'static str,
    requests: u32,
    duration: Duration,
    /// For the answer, and for what follows from it until that is recorded.
    _memory: Option<Reservation>,
}

impl Context {
    /// Carries a poll or an end out; the failure of `cut` ends the job instead of its request. Calls `answered` when the request
    /// of a poll is over and what it found is to be recorded.
    pub(super) async fn run(
        &self,
        task: Task,
        cut: impl Future<Output = Failure>,
        answered: impl FnOnce(),
    ) -> Result<Box<Finished>, PollError> {
        if task.work == Work::Poll {
            telemetry::poll_started(task.lag);
        }
        let mut cut = pin!(cut);
        let url = task.url.clone();
        let (mut machine, mut step) = Machine::begin(task);
        let mut requested = None;
        let mut answered = Some(answered);
        loop {
            let id = machine.id();
            let input = match step {
                Step::ReadRow => Input::Row(readable(self.reads.job(id).await)?),
                Step::Request => {
                    let (input, over) = self.request(&machine, url.as_deref(), cut.as_mut()).await;
                    requested = over;
                    input
                }
                Step::ReadTracked => Input::Tracked(readable(self.reads.tracked(id).await)?),
                Step::Record(recordable) => Input::Recorded(self.record(*recordable).await?),
                Step::Done(mut finished) => {
                    if let Some(job) = finished.tracked.take() {
                        self.reads.recorded(job);
                    }
                    log::finished(&finished, requested.as_ref(), self);
                    return Ok(finished);
                }
            };
            step = machine.handle(input, self.clock.read(), &mut || self.jitter.fraction());
            if machine.had_answer()
                && let Some(answered) = answered.take()
            {
                answered();
            }
        }
    }

    async fn request(
        &self,
        machine: &Machine,
        url: Option<&str>,
        cut: Pin<&mut impl Future<Output = Failure>>,
    ) -> (Input, Option<Requested>) {
        let id = machine.id();
        let target = match self.upstream.target(id, url) {
            Ok(target) => target,
            Err(refused) => return (Input::UrlRefused(refused.to_string()), None),
        };
        let (started, requests) = (Instant::now(), AtomicU32::new(0));
        let request = PollRequest {
            url: &target,
            job: id,
            expected: url.is_none().then_some(id),
            known: machine.known(),
            if_none_match: machine.if_none_match(),
        };
        let polled = pin!(self.upstream.poll_counted(&request, &requests));
        tokio::select! {
            biased;
            failure = cut => (Input::Cut(failure, requests.load(Ordering::Relaxed)), None),
            (poll, memory) = polled => {
                let requested = Requested {
                    outcome: poll.outcome.as_str(),
                    requests: poll.requests,
                    duration: started.elapsed(),
                    _memory: memory,
                };
                (Input::Polled(poll), Some(requested))
            }
        }
    }

    async fn record(&self, recordable: Recordable) -> Result<Recorded, PollError> {
        let observation = &recordable.observation;
        let (id, polls) = (
            &observation.job_id.clone(),
            recordable.schedule.progress.polls,
        );
        self.unknown_words.log(id, observation);
        let summary = Summary::of(observation);
        let recorded = self.recorder.observed(recordable).await?;
        if recorded == Recorded::Yes {
            summary.log(id, polls);
            summary.count(polls, &self.recent);
        }
        Ok(recorded)
    }
}

/// What was read, or that another program has damaged it; the other jobs continue.
fn readable<T>(read: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match read {
        Err(error @ StoreError::Inconsistent { .. }) => Ok(Err(error.to_string())),
        read => read.map(Ok),
    }
}
