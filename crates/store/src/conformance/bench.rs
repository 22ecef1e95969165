//! What most tests of the suite do with a fresh store.

use jobtrackd_clock::Clock;
use jobtrackd_core::delivery::{AfterAttempt, WebhookName};
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::time::UnixMillis;

use super::backend::Backend;
use super::fixtures::{self, T0, id};
use crate::{
    Batch, Commits as _, Committed, Deliveries as _, DueDelivery, EventFilter, Events as _,
    JobDetail, JobUpdate, Jobs as _, NewJob, Outsider as _, Recordable, Result,
};

/// A fresh store, and somebody else who uses its database. The time of day begins at `T0`.
#[derive(Debug)]
pub struct Bench<B> {
    /// Both.
    pub backend: B,
    /// Their time of day.
    pub clock: Clock,
}

impl<B: Backend> Bench<B> {
    /// An empty one.
    pub async fn fresh() -> Self {
        let clock = Clock::driven(T0);
        Self {
            backend: B::fresh(clock.clone()).await,
            clock,
        }
    }

    /// One with these jobs, inserted at `T0`.
    pub async fn with_jobs(ids: &[&str]) -> Self {
        let mut bench = Self::fresh().await;
        for id in ids {
            bench.insert(&job(id)).await.unwrap();
        }
        bench
    }

    /// The store.
    pub fn store(&self) -> &B::Store {
        self.backend.store()
    }

    /// The other program inserts a row.
    ///
    /// # Errors
    /// When the row may not be inserted.
    pub async fn insert(&mut self, job: &NewJob) -> Result<bool> {
        let outsider = self.backend.outsider();
        self.clock.held(outsider.insert(job, T0)).await
    }

    /// The other program changes a row.
    ///
    /// # Errors
    /// When the row may not become that.
    pub async fn update(&mut self, job: &str, update: JobUpdate) -> Result<bool> {
        let outsider = self.backend.outsider();
        self.clock.held(outsider.update(&id(job), &update)).await
    }

    /// The other program deletes a row.
    ///
    /// # Errors
    /// When the job may not be deleted.
    pub async fn delete(&mut self, job: &str) -> Result<bool> {
        let outsider = self.backend.outsider();
        self.clock.held(outsider.delete(&id(job))).await
    }

    /// A job as it was last recorded.
    pub async fn tracked(&self, job: &str) -> Tracked {
        self.store().tracked(&id(job)).await.unwrap().unwrap()
    }

    /// All that is recorded of a job.
    pub async fn detail(&self, job: &str) -> JobDetail {
        self.store().detail(&id(job)).await.unwrap().unwrap()
    }

    /// The bodies of a job's events, in order.
    pub async fn bodies(&self, job: &str) -> Vec<String> {
        let filter = EventFilter {
            job: JobId::parse(job).ok(),
            limit: 1000,
            bytes: u32::MAX,
            ..EventFilter::default()
        };
        let page = self.store().events(&filter).await.unwrap();
        page.events.into_iter().map(|event| event.body).collect()
    }

    /// Records observations at `T0`.
    pub async fn record(&self, observations: Vec<Recordable>) -> Committed {
        self.try_record(observations).await.unwrap()
    }

    /// The same.
    ///
    /// # Errors
    /// When they are not recorded.
    pub async fn try_record(&self, observations: Vec<Recordable>) -> Result<Committed> {
        let batch = Batch {
            observations,
            now: Some(T0),
            ..Batch::default()
        };
        self.store().commit(&batch).await
    }

    /// Records what an answer with this body means, and sends all its events to these webhooks. If it is recorded, the job is as
    /// [`Tracked::after`] says.
    pub async fn sees(&self, job: &str, body: &str, webhooks: &[&str]) -> Committed {
        let before = self.tracked(job).await;
        let seen = fixtures::seen(&before, body);
        let after = before.after(&seen);
        let committed = self
            .record(vec![fixtures::with_deliveries(seen, webhooks)])
            .await;
        if committed.recorded.contains(&after.id) {
            assert_eq!(self.tracked(job).await, after);
        }
        committed
    }

    /// What is due at the end of time: every head of a lane.
    pub async fn heads(&self, webhook: &str) -> Vec<DueDelivery> {
        self.due(webhook, UnixMillis::MAX).await
    }

    /// What is due at this time.
    pub async fn due(&self, webhook: &str, now: UnixMillis) -> Vec<DueDelivery> {
        let webhook = WebhookName::new(webhook);
        let due = self.store().deliveries_due(&webhook, now, &[], 1000).await;
        due.unwrap().deliveries
    }

    /// The bytes that are sent.
    pub async fn body_to_send(&self, webhook: &str, due: &DueDelivery) -> Option<Vec<u8>> {
        let webhook = WebhookName::new(webhook);
        let body = self.store().body_to_send(&webhook, &due.event_id).await;
        body.unwrap()
    }

    /// Deliveries that are to be sent, as `job sequence`.
    pub async fn labels(&self, webhook: &str, due: &[DueDelivery]) -> Vec<String> {
        let mut labels = Vec::new();
        for each in due {
            let body = self.body_to_send(webhook, each).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            labels.push(format!("{} {}", each.job_id, body["data"]["sequence"]));
        }
        labels
    }

    /// Records the next attempt at a delivery, at `T0`.
    pub async fn attempts(&self, webhook: &str, due: &DueDelivery, after: AfterAttempt) {
        let batch = Batch {
            attempts: vec![fixtures::attempt(webhook, due, after)],
            now: Some(T0),
            ..Batch::default()
        };
        self.store().commit(&batch).await.unwrap();
    }

    /// The deliveries of a job to a webhook as `sequence state`.
    pub async fn lane(&self, webhook: &str, job: &str) -> Vec<String> {
        let deliveries = self.detail(job).await.deliveries;
        deliveries
            .iter()
            .filter(|delivery| delivery.webhook == webhook)
            .map(|delivery| format!("{} {}", delivery.sequence, delivery.state.as_str()))
            .collect()
    }
}

/// A row with this id.
#[must_use]
pub fn job(id: &str) -> NewJob {
    NewJob {
        id: id.to_owned(),
        ..NewJob::default()
    }
}
