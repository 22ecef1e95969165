//! The demo's schedule: rows are inserted and cancelled, tokens expire, and users answer the challenges of webhooks.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::jobs::{AUDIT, DemoJob, TOKENS_EXPIRE, User, jobs};
use super::sandbox::Sandbox;
use crate::clock::Clock;
use crate::core::job::JobId;
use crate::simulator::{Control, Inbox};
use crate::store::{Jobs as _, NewJob, Store, Watching as _};

/// How long a user thinks about a challenge.
const THINKING: Duration = Duration::from_millis(1_100);

/// A wrong answer.
const WRONG: &str = "0000";

/// A scheduled action of the demo. Jobs are named by their index.
#[derive(Debug, Clone, Copy)]
enum Act {
    Enqueue(usize),
    Cancel(usize),
    ExpireTokens,
}

/// Drives a demo from outside the daemon.
#[derive(Debug)]
pub struct Driver {
    jobs: Vec<DemoJob>,
    /// The actions that are still to do, in order of time.
    acts: VecDeque<(Duration, Act)>,
    /// When the user of a job answers its challenge.
    answers: Vec<(Instant, usize)>,
    began: Instant,
    pace: f64,
    clock: Clock,
    control: Control,
    inbox: Inbox,
    /// The last request at the webhooks that was read.
    read: u64,
    store: Store,
}

impl Driver {
    /// The schedule begins now. `store` is a second handle on the daemon's database.
    #[must_use]
    pub fn new(sandbox: &Sandbox, store: Store) -> Self {
        let (jobs, pace) = (jobs(), sandbox.pace);
        let mut acts = vec![(TOKENS_EXPIRE, Act::ExpireTokens)];
        for (index, job) in jobs.iter().enumerate() {
            acts.push((job.at, Act::Enqueue(index)));
            acts.extend(job.cancel.map(|after| (job.at + after, Act::Cancel(index))));
        }
        acts.sort_by_key(|(at, _)| *at);
        Self {
            acts: acts.into(),
            answers: Vec::new(),
            jobs,
            began: Instant::now(),
            pace,
            clock: Clock::system(),
            control: sandbox.simulator.control(),
            inbox: sandbox.receiver.inbox(),
            read: 0,
            store,
        }
    }

    /// Whether all actions are done, every job has ended, and no delivery is pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_over(&self) -> anyhow::Result<bool> {
        if !self.acts.is_empty() || !self.answers.is_empty() {
            return Ok(false);
        }
        let overview = self.store.overview(self.clock.now()).await?;
        Ok(overview.running == 0 && overview.pending == 0)
    }

    /// Does what is due, and passes a line about each action to `print`.
    ///
    /// # Errors
    /// When the database cannot be written, or the simulator refuses.
    pub async fn step(&mut self, print: impl Fn(&str)) -> anyhow::Result<()> {
        let print = |id: &str, text: &str| {
            print(&format!("{}  {id}  {text}", self.clock.now().rfc3339()));
        };
        let elapsed = self.began.elapsed();
        let due = |(at, _): &mut (Duration, Act)| at.div_f64(self.pace) <= elapsed;
        while let Some((_, act)) = self.acts.pop_front_if(due) {
            match act {
                Act::Enqueue(index) => {
                    let job = &self.jobs[index];
                    self.enqueue(job).await?;
                    print(job.id, &format!("enqueued ({})", job.about));
                }
                Act::Cancel(index) => {
                    let id = self.jobs[index].id;
                    self.store.request_cancel(&JobId::parse(id)?).await?;
                    print(id, "cancel requested");
                }
                Act::ExpireTokens => self.control.expire_tokens(),
            }
        }
        for request in self.inbox.received_after(self.read) {
            self.read = request.number;
            let asks = request.event == "job.action_required" && request.hook == AUDIT;
            if asks && request.is_taken() && !request.again {
                let job = self.jobs.iter().position(|job| job.id == request.job);
                let at = Instant::now() + THINKING.div_f64(self.pace);
                self.answers.extend(job.map(|job| (at, job)));
            }
        }
        let now = Instant::now();
        for (_, index) in self.answers.extract_if(.., |(at, _)| *at <= now) {
            let job = &mut self.jobs[index];
            let expected = self.control.expected_answers(job.remote_id());
            let mut answers = expected.unwrap_or_default();
            match job.user {
                User::Silent => continue,
                User::Knows => {}
                User::Guesses => answers.fill(WRONG.to_owned()),
                User::Mistypes => {
                    answers.fill(WRONG.to_owned());
                    job.user = User::Knows;
                }
            }
            match self.control.answer(job.remote_id(), &answers) {
                Ok(true) => print(job.id, "the user answers the challenge"),
                Ok(false) => print(job.id, "the user answers the challenge wrongly"),
                // It waits for no answer any more.
                Err(_) => {}
            }
        }
        Ok(())
    }

    async fn enqueue(&self, job: &DemoJob) -> anyhow::Result<()> {
        if let Some(remote) = job.remote_job(self.pace) {
            self.control.create(remote)?;
        }
        let now = self.clock.now();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let row = NewJob {
            id: job.id.to_owned(),
            url: owned(job.url),
            metadata: owned(job.metadata),
            webhook: owned(job.webhook),
            priority: job.priority,
            deadline_at: job.deadline.map(|after| now.plus(after.div_f64(self.pace))),
            not_before: None,
        };
        let is_new = self.store.enqueue(&row).await?;
        anyhow::ensure!(is_new, "there is a job with the id {} already", job.id);
        Ok(())
    }
}
