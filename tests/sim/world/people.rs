//! What programs and people do.

use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_store::{DeliveryFilter, JobUpdate, NewJob, ReplayFilter, StoreError, Unwanted};

use super::effects::unix;
use super::{Event, Violation, World};
use crate::plan::Deed;
use crate::plan::{Crash, DiskFault, Fault, JobPlan, ReceiverFault, Settings};
use crate::process::Message;
use crate::time::{MS, SECOND, true_wall};

impl World<'_> {
    /// Whether nobody can write now.
    fn is_locked(&self) -> bool {
        let mut faults = self.disk();
        faults.any(|(_, fault)| matches!(fault, DiskFault::Full | DiskFault::Locked))
    }

    pub(super) fn insert(&mut self, number: usize) -> Result<(), Violation> {
        if self.is_locked() {
            self.put(self.now + SECOND, Event::Insert(number));
            return Ok(());
        }
        let plan = &self.plan.jobs[number];
        let (at, row) = (unix(self.wall()), new_job(plan));
        let inserted = self.database.insert(&row, at);
        self.log
            .note(self.now, format_args!("insert {}: {inserted:?}", plan.id));
        match inserted {
            Ok(true) => {
                self.oracle.inserted(number, plan, self.now)?;
                self.after_commit()
            }
            Ok(false) => Ok(()),
            Err(error) => Err(format!("insert: a good row is refused: {error}")),
        }
    }

    pub(super) fn act(&mut self, number: usize) -> Result<(), Violation> {
        let deed = &self.plan.actions[number].deed;
        let is_file = !matches!(deed, Deed::Reload(..) | Deed::Restart);
        if is_file && self.is_locked() {
            self.put(self.now + SECOND, Event::Action(number));
            return Ok(());
        }
        self.log.note(self.now, format_args!("{deed:?}"));
        match deed {
            Deed::Reload(settings, is_late) => {
                if *is_late && self.process.is_some() {
                    self.reload = Some(settings.clone());
                    return Ok(());
                }
                return self.reload_now(settings.clone());
            }
            Deed::Restart => {
                if self.process.is_some() {
                    self.kill(Crash {
                        at: self.now,
                        skip: 0,
                        after: false,
                        down: 50 * MS,
                        again: None,
                    });
                }
                return Ok(());
            }
            Deed::Replace(job) => return self.insert_again(*job, true),
            Deed::ReplaceDuringPoll(job) => {
                self.again_at_poll.insert(*job);
                return Ok(());
            }
            Deed::InsertAgain(job) => return self.insert_again(*job, false),
            Deed::BadRow(which) => return self.bad_row(*which),
            _ => {}
        }
        let done = self.operate(deed);
        match done {
            Ok(()) => self.after_commit(),
            Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(format!("operator: {deed:?} failed: {error}")),
        }
    }

    /// The daemon reads its configuration again.
    pub(super) fn reload_now(&mut self, settings: Box<Settings>) -> Result<(), Violation> {
        self.settings = (*settings).clone();
        // A later configuration is not followed by an earlier one.
        self.reload = None;
        self.oracle.reloaded(&self.settings, self.now);
        self.hand(Message::Reload(settings))
    }

    fn operate(&mut self, deed: &Deed) -> Result<(), StoreError> {
        let id = |job: usize| JobId::parse(&self.plan.jobs[job].id);
        match deed {
            Deed::Cancel(job) => {
                if let Ok(id) = id(*job) {
                    let there = self.database.update(&id, &JobUpdate::Cancel)?;
                    self.oracle.cancelled(&id, there, self.now);
                }
            }
            Deed::PollNow(job) => {
                if let Ok(id) = id(*job) {
                    self.database.update(&id, &JobUpdate::Poll)?;
                    self.oracle.poll_requested(&id, self.now);
                }
            }
            Deed::Disable(webhook) => {
                let name = self.oracle.name(*webhook);
                while !self.database.disable(&name)?.is_last {}
                self.oracle.steered(*webhook, self.now);
            }
            Deed::Enable(webhook) => {
                let name = self.oracle.name(*webhook);
                while !self.database.enable(&name)?.is_last {}
                self.oracle.steered(*webhook, self.now);
            }
            Deed::ReplayJob(job) => {
                let job = Some(self.plan.jobs[*job].id.clone());
                let filter = ReplayFilter {
                    job,
                    limit: 1000,
                    ..ReplayFilter::default()
                };
                let replayed = self.database.replay(&filter)?;
                self.log.note(self.now, format_args!("{replayed} replayed"));
                self.oracle.replayed(self.now);
            }
            Deed::ReplayWebhook(webhook) => {
                let webhook = Some(self.plan.webhooks[*webhook].name.clone());
                let since = Some(unix(
                    self.wall() - i64::try_from(self.plan.horizon / MS / 4).unwrap_or(0),
                ));
                let filter = ReplayFilter {
                    webhook,
                    since,
                    limit: 1000,
                    ..ReplayFilter::default()
                };
                let replayed = self.database.replay(&filter)?;
                self.log.note(self.now, format_args!("{replayed} replayed"));
                self.oracle.replayed(self.now);
            }
            Deed::GiveUp(webhook) => {
                let unwanted = Unwanted::AllOf(self.oracle.name(*webhook));
                while !self.database.give_up(&unwanted)?.is_last {}
                self.oracle.steered(*webhook, self.now);
            }
            Deed::Resume => {
                self.database.resume()?;
                self.oracle.resumed(self.now);
            }
            Deed::Retention => self.retention()?,
            Deed::Reload(..)
            | Deed::Restart
            | Deed::InsertAgain(_)
            | Deed::Replace(_)
            | Deed::ReplaceDuringPoll(_)
            | Deed::BadRow(_) => {}
        }
        Ok(())
    }

    /// Operators enable every webhook that was disabled or paused: what was paused while the clock was wrong may wait for a
    /// day.
    pub(super) fn enable_all(&mut self) -> Result<(), Violation> {
        for webhook in 0..self.plan.webhooks.len() {
            let mut faults = self.plan.faults.iter();
            let stops = faults.any(|fault| match fault {
                Fault::Receiver(of, _, kind) => {
                    let stops = matches!(
                        kind,
                        ReceiverFault::Paused(..) | ReceiverFault::Gone | ReceiverFault::Disables
                    );
                    *of == webhook && stops
                }
                _ => false,
            });
            let mut actions = self.plan.actions.iter();
            let is_steered = actions.any(|action| match action.deed {
                Deed::Disable(of) | Deed::GiveUp(of) => of == webhook,
                _ => false,
            });
            if !stops && !is_steered {
                continue;
            }
            let enabled = self.operate(&Deed::Enable(webhook));
            enabled.map_err(|error| format!("operator: enabling failed: {error}"))?;
        }
        self.after_commit()
    }

    /// The daemon's pass over ended jobs.
    fn retention(&mut self) -> Result<(), StoreError> {
        if self.process.is_none() {
            return Ok(());
        }
        let before =
            unix(self.wall() - i64::try_from(self.settings.kept / MS).unwrap_or(i64::MAX / 2));
        for stage in [Stage::Attempts, Stage::Events, Stage::Jobs] {
            let rows = self.database.prune(stage, before)?;
            self.log
                .note(self.now, format_args!("{stage:?}: {rows} rows deleted"));
        }
        self.oracle.pruned(&self.database, self.now)
    }

    pub(super) fn insert_again(&mut self, number: usize, gives_up: bool) -> Result<(), Violation> {
        if self.plan.jobs[number].is_left_out {
            return Ok(());
        }
        self.again.push((number, gives_up));
        self.delete_ended()
    }

    /// Deletes the jobs that are to be inserted again and may be deleted now.
    pub(super) fn delete_ended(&mut self) -> Result<(), Violation> {
        for (number, gives_up) in std::mem::take(&mut self.again) {
            let Ok(id) = JobId::parse(&self.plan.jobs[number].id) else {
                continue;
            };
            let given_up = match gives_up {
                true => self.give_up_events(&id),
                false => Ok(()),
            };
            match given_up.and_then(|()| self.database.delete(&id)) {
                Ok(true) => {
                    self.log.note(self.now, format_args!("deleted {id}"));
                    self.oracle.deleted(&id, self.now);
                    // Its row then has another time of insertion.
                    let at = self.now + 2 * MS + self.delay("again", MS);
                    self.put(at, Event::Insert(number));
                }
                Ok(false) => {}
                Err(StoreError::Refused(_)) => self.again.push((number, gives_up)),
                Err(error) => return Err(format!("operator: deletion failed: {error}")),
            }
        }
        Ok(())
    }

    /// An operator gives up what is not delivered of a job that has ended.
    fn give_up_events(&mut self, id: &JobId) -> Result<(), StoreError> {
        let has_ended = self
            .database
            .job(id)?
            .is_some_and(|row| row.state.is_final());
        if !has_ended {
            return Ok(());
        }
        let waiting = DeliveryFilter {
            job: Some(id.clone()),
            state: Some(DeliveryState::Pending),
            ..DeliveryFilter::default()
        };
        for row in self.database.deliveries(waiting)? {
            self.database.give_up(&Unwanted::Event(row.event_id))?;
        }
        for webhook in 0..self.plan.webhooks.len() {
            self.oracle.steered(webhook, self.now);
        }
        Ok(())
    }

    fn bad_row(&mut self, which: u64) -> Result<(), Violation> {
        let mut row = NewJob {
            id: format!("bad-{which}"),
            ..NewJob::default()
        };
        match which {
            0 => row.id = "../token".to_owned(),
            1 => row.id = "a b".to_owned(),
            2 => row.metadata = Some("[1]".to_owned()),
            3 => row.url = Some("//evil.example/x".to_owned()),
            4 => row.webhook = Some(String::new()),
            _ => row.deadline_at = Some(unix(1_800_000_000)),
        }
        match self.database.insert(&row, unix(self.wall())) {
            Err(StoreError::Refused(_)) => Ok(()),
            other => Err(format!(
                "insert: the bad row {row:?} is not refused: {other:?}"
            )),
        }
    }
}

fn new_job(plan: &JobPlan) -> NewJob {
    let row = &plan.row;
    NewJob {
        id: plan.id.clone(),
        url: row.url.clone(),
        metadata: row.metadata.clone(),
        webhook: row.webhook.clone(),
        priority: row.priority,
        deadline_at: row.deadline.map(|at| unix(true_wall(at))),
        not_before: row.not_before.map(|at| unix(true_wall(at))),
    }
}
