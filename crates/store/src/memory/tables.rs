//! All tables, and what the schema does with their rows by itself.

use jobtrackd_core::delivery::{Attempt, DeliveryState, WebhookName};
use jobtrackd_core::job::JobId;
use jobtrackd_core::rows::WebhookHealth;
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::user::UserId;

use super::rows::{Delivery, DeliveryKey, Event, Job, ReplayRecord, Step};
use super::table::Table;
use crate::{Result, StepRow, StoreError, TransitionRow};

/// Numbers that are given once each, and counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) change: i64,
    pub(super) cursor: i64,
    pub(super) replay: i64,
    pub(super) resumes: i64,
}

/// What the enqueuer or an operator requests of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Poll,
    Cancel,
}

/// What is true of jobs, events and deliveries.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) jobs: Table<JobId, Job>,
    /// The jobs by the numbers of their rows.
    pub(super) numbered: Table<i64, JobId>,
    pub(super) changes: Table<i64, JobId>,
    pub(super) steps: Table<(JobId, String, u32), Step>,
    pub(super) transitions: Table<(JobId, u32), TransitionRow>,
    pub(super) events: Table<i64, Event>,
    pub(super) events_by_id: Table<String, i64>,
    pub(super) events_by_job: Table<(JobId, u32), i64>,
    pub(super) deliveries: Table<DeliveryKey, Delivery>,
    /// The deliveries that are pending or disabled.
    pub(super) waiting: Table<DeliveryKey, ()>,
    /// The webhooks that have, or had, deliveries.
    pub(super) receivers: Table<WebhookName, ()>,
    pub(super) attempts: Table<(String, WebhookName, u32), Attempt>,
    pub(super) upstreams: Table<String, UnixMillis>,
    pub(super) webhooks: Table<WebhookName, WebhookHealth>,
    pub(super) replays: Table<i64, ReplayRecord>,
    pub(super) numbers: Numbers,
}

/// Does the same with every table.
macro_rules! each_table {
    ($tables:expr, $table:ident => $work:expr) => {{
        let Tables {
            jobs,
            numbered,
            changes,
            steps,
            transitions,
            events,
            events_by_id,
            events_by_job,
            deliveries,
            waiting,
            receivers,
            attempts,
            upstreams,
            webhooks,
            replays,
            numbers: _,
        } = $tables;
        each_table!(@ $table => $work; jobs numbered changes steps transitions events events_by_id events_by_job
            deliveries waiting receivers attempts upstreams webhooks replays)
    }};
    (@ $table:ident => $work:expr; $($name:ident)*) => {
        [$({ let $table = $name; $work }),*]
    };
}

impl Tables {
    /// Runs `work` in one transaction: whatever fails in it, nothing of it is kept. The second value says whether anything
    /// was changed.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> (Result<T>, bool) {
        let numbers = self.numbers;
        let result = work(self);
        if result.is_ok() {
            let changed = each_table!(self, table => table.commit());
            return (result, changed.contains(&true) || self.numbers != numbers);
        }
        each_table!(self, table => table.roll_back());
        self.numbers = numbers;
        (result, false)
    }

    /// Notes that the daemon has to read a job's row again.
    pub(super) fn note_change(&mut self, job: &JobId) {
        self.numbers.change += 1;
        self.changes.put(self.numbers.change, job.clone());
    }

    /// Changes a job's row. The change is noted if the daemon has to know of it, and refused if an end or the state's fit with
    /// the other columns would be lost.
    pub(super) fn change_job(&mut self, id: &JobId, change: impl FnOnce(&mut Job)) -> Result<()> {
        let Some(before) = self.jobs.get(id).cloned() else {
            return Ok(());
        };
        self.jobs.change(id, change);
        let Some(after) = self.jobs.get(id) else {
            return Ok(());
        };
        if !after.is_consistent() {
            return refused("a job's state does not fit its other columns");
        }
        let kept = (after.row.state, after.finished_at, after.revision);
        let is_end_kept = kept == (before.row.state, before.finished_at, before.revision)
            && after.failure == before.failure
            && after.resource == before.resource;
        if before.has_ended() && !is_end_kept {
            return refused("this job has ended; an end is final");
        }
        let (old, new) = (&before.row, &after.row);
        let retimed = (&new.url, &new.webhook, new.priority)
            != (&old.url, &old.webhook, old.priority)
            || (new.deadline_at, new.not_before) != (old.deadline_at, old.not_before);
        if retimed {
            self.note_change(id);
        }
        Ok(())
    }

    /// Sets a request of a job. It is noted even if it was set before: the daemon may just be taking it.
    pub(super) fn request(&mut self, id: &JobId, request: Request) {
        let noted = self.jobs.change(id, |job| {
            let row = &mut job.row;
            match request {
                Request::Poll => row.poll_requested = true,
                Request::Cancel if !row.cancel_requested => {
                    row.cancel_requested = true;
                    return true;
                }
                Request::Cancel => {}
            }
            row.poll_requested
        });
        if noted == Some(true) {
            self.note_change(id);
        }
    }

    /// Deletes a job with everything that belongs to it.
    ///
    /// # Errors
    /// When it has not ended, or an event of it waits.
    pub(super) fn delete_job(&mut self, id: &JobId) -> Result<bool> {
        let Some(job) = self.jobs.get(id) else {
            return Ok(false);
        };
        let (number, ended) = (job.number, job.has_ended());
        let deliveries: Vec<DeliveryKey> = self.deliveries_of_job(id).map(Delivery::key).collect();
        if !ended || deliveries.iter().any(|key| self.waiting.contains(key)) {
            return refused(
                "only a job that has ended and whose events are delivered or exhausted may be deleted; cancel it with \
                 cancel_requested = 1",
            );
        }
        let events: Vec<String> = self.events_of(id).map(|event| event.id.clone()).collect();
        for event in &events {
            self.delete_attempts(event, usize::MAX);
        }
        for key in deliveries {
            self.delete_delivery(&key);
        }
        for event in &events {
            self.delete_event(event);
        }
        let transitions: Vec<_> = self.transitions_of(id).map(|each| each.seq).collect();
        for seq in transitions {
            self.transitions.remove(&(id.clone(), seq));
        }
        for key in self.step_keys(id) {
            self.steps.remove(&key);
        }
        self.numbered.remove(&number);
        self.jobs.remove(id);
        Ok(true)
    }

    /// All jobs in the order of their rows.
    pub(super) fn jobs_by_number(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.numbered.values().filter_map(|id| self.jobs.get(id))
    }

    pub(super) fn step_keys(&self, job: &JobId) -> Vec<(JobId, String, u32)> {
        let of_job = self.steps.range((job.clone(), String::new(), 0)..);
        let of_job = of_job.take_while(|(key, _)| key.0 == *job);
        of_job.map(|(key, _)| key.clone()).collect()
    }

    /// A job's steps in order of position.
    pub(super) fn steps_of(&self, job: &JobId) -> Vec<&Step> {
        let of_job = self.steps.range((job.clone(), String::new(), 0)..);
        let of_job = of_job.take_while(|(key, _)| key.0 == *job);
        let mut steps: Vec<&Step> = of_job.map(|(_, step)| step).collect();
        steps.sort_by_key(|each| (each.step.position, each.step.occurrence));
        steps
    }

    pub(super) fn step_rows(&self, job: &JobId) -> Vec<StepRow> {
        self.steps_of(job).into_iter().map(Step::row).collect()
    }

    pub(super) fn transitions_of(
        &self,
        job: &JobId,
    ) -> impl DoubleEndedIterator<Item = &TransitionRow> {
        let all = (job.clone(), 0)..=(job.clone(), u32::MAX);
        self.transitions.range(all).map(|(_, row)| row)
    }

    /// A job's events in order of sequence.
    pub(super) fn events_of(&self, job: &JobId) -> impl DoubleEndedIterator<Item = &Event> {
        let all = (job.clone(), 0)..=(job.clone(), u32::MAX);
        let cursors = self.events_by_job.range(all);
        cursors.filter_map(|(_, cursor)| self.events.get(cursor))
    }

    pub(super) fn event(&self, id: &str) -> Option<&Event> {
        self.events.get(self.events_by_id.get(id)?)
    }

    /// Inserts an event behind all others.
    ///
    /// # Errors
    /// When there is one of its id or sequence, or a second end.
    pub(super) fn insert_event(&mut self, mut event: Event) -> Result<()> {
        if self.events_by_id.contains(&event.id) {
            return refused("UNIQUE constraint failed: events.id");
        }
        let place = (event.job_id.clone(), event.sequence);
        if self.events_by_job.contains(&place) {
            return refused("UNIQUE constraint failed: events.job_id, events.sequence");
        }
        let is_end = |event: &Event| {
            use jobtrackd_core::event::EventType::{Completed, Failed};
            matches!(event.kind, Completed | Failed)
        };
        if is_end(&event) && self.events_of(&event.job_id).any(is_end) {
            return refused("UNIQUE constraint failed: events.job_id");
        }
        self.numbers.cursor += 1;
        event.cursor = self.numbers.cursor;
        self.events_by_id.put(event.id.clone(), event.cursor);
        self.events_by_job.put(place, event.cursor);
        self.events.put(event.cursor, event);
        Ok(())
    }

    pub(super) fn delete_event(&mut self, id: &str) {
        let Some(event) = self.event(id) else {
            return;
        };
        let (cursor, place) = (event.cursor, (event.job_id.clone(), event.sequence));
        self.events_by_id.remove(&id.to_owned());
        self.events_by_job.remove(&place);
        self.events.remove(&cursor);
    }

    /// The delivery of an event to a webhook.
    pub(super) fn delivery(&self, event: &str, webhook: &WebhookName) -> Option<&Delivery> {
        let event = self.event(event)?;
        let key = (webhook.clone(), event.job_id.clone(), event.sequence);
        self.deliveries.get(&key)
    }

    /// An event's deliveries in order of their webhooks.
    pub(super) fn deliveries_of<'a>(
        &'a self,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a Delivery> {
        self.receivers.keys().filter_map(|webhook| {
            let key = (webhook.clone(), event.job_id.clone(), event.sequence);
            self.deliveries.get(&key)
        })
    }

    /// A job's deliveries, webhook by webhook in order.
    pub(super) fn deliveries_of_job(&self, job: &JobId) -> impl Iterator<Item = &Delivery> {
        self.receivers.keys().flat_map(move |webhook| {
            let lane = (webhook.clone(), job.clone(), 0)..=(webhook.clone(), job.clone(), u32::MAX);
            self.deliveries.range(lane).map(|(_, row)| row)
        })
    }

    /// All deliveries to a webhook that are pending or disabled, lane by lane in order.
    pub(super) fn waiting_for<'a>(
        &'a self,
        webhook: &'a WebhookName,
    ) -> impl Iterator<Item = &'a Delivery> {
        // No id comes before this one.
        let first = JobId::parse("-").ok().map(|job| (webhook.clone(), job, 0));
        let waiting = first.map(|first| self.waiting.range(first..));
        let keys = waiting.into_iter().flatten().map(|(key, ())| key);
        let keys = keys.take_while(move |key| key.0 == *webhook);
        keys.filter_map(|key| self.deliveries.get(key))
    }

    /// Whether an event of the job waits for the webhook.
    pub(super) fn lane_waits(&self, webhook: &WebhookName, job: &JobId) -> bool {
        let lane = (webhook.clone(), job.clone(), 0)..=(webhook.clone(), job.clone(), u32::MAX);
        self.waiting.range(lane).next().is_some()
    }

    /// The state in which a new delivery to this webhook begins.
    pub(super) fn first_state(&self, webhook: &WebhookName) -> DeliveryState {
        let disabled = self.webhooks.get(webhook).map(|row| row.disabled.is_some());
        match disabled {
            Some(true) => DeliveryState::Disabled,
            _ => DeliveryState::Pending,
        }
    }

    /// Inserts a delivery, or puts it in the place of the one with its key.
    pub(super) fn put_delivery(&mut self, delivery: Delivery) {
        let key = delivery.key();
        if !self.receivers.contains(&key.0) {
            self.receivers.put(key.0.clone(), ());
        }
        if delivery.waits() != self.waiting.contains(&key) {
            if delivery.waits() {
                self.waiting.put(key.clone(), ());
            } else {
                self.waiting.remove(&key);
            }
        }
        self.deliveries.put(key, delivery);
    }

    pub(super) fn change_delivery(
        &mut self,
        key: &DeliveryKey,
        change: impl FnOnce(&mut Delivery),
    ) {
        if let Some(mut delivery) = self.deliveries.get(key).cloned() {
            change(&mut delivery);
            self.put_delivery(delivery);
        }
    }

    pub(super) fn delete_delivery(&mut self, key: &DeliveryKey) {
        self.deliveries.remove(key);
        self.waiting.remove(key);
    }

    /// The attempts at an event, by webhook and number.
    pub(super) fn attempts_at(&self, event: &str) -> impl Iterator<Item = &Attempt> {
        let first = (event.to_owned(), WebhookName::new(""), 0);
        let all = self.attempts.range(first..);
        all.take_while(move |(key, _)| key.0 == event)
            .map(|(_, attempt)| attempt)
    }

    /// Deletes at most this many attempts at an event; how many.
    pub(super) fn delete_attempts(&mut self, event: &str, most: usize) -> usize {
        let found = self.attempts_at(event).take(most);
        let keys: Vec<_> = found
            .map(|each| (each.event_id.clone(), each.webhook.clone(), each.number))
            .collect();
        for key in &keys {
            self.attempts.remove(key);
        }
        keys.len()
    }

    /// The jobs of a user, the newest first.
    pub(super) fn jobs_of(&self, user: &str) -> Vec<(&Job, &[String])> {
        let of_user = self.jobs.values().filter_map(|job| {
            let is_user =
                |each: &&jobtrackd_core::user::JobUser| UserId::as_str(&each.user) == user;
            let found = job.users.iter().find(is_user)?;
            Some((job, found.connections.as_slice()))
        });
        let mut jobs: Vec<_> = of_user.collect();
        jobs.sort_by(|(a, _), (b, _)| {
            let place = |job: &Job| (job.row.created_at, job.row.id.clone());
            place(b).cmp(&place(a))
        });
        jobs
    }

    /// Changes what is recorded of a webhook; the row is made if there is none.
    pub(super) fn change_webhook<T>(
        &mut self,
        webhook: &WebhookName,
        change: impl FnOnce(&mut WebhookHealth) -> T,
    ) -> T {
        let mut row = self.webhooks.get(webhook).cloned().unwrap_or_default();
        let value = change(&mut row);
        self.webhooks.put(webhook.clone(), row);
        value
    }
}

/// The error of a row that breaks a rule.
pub(super) fn refused<T>(rule: &str) -> Result<T> {
    Err(StoreError::Refused(rule.to_owned()))
}
