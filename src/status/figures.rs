//! Numbers from the database, counted from time to time and shared by all who show them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Parts;
use super::budget::Budget;
use crate::core::delivery::WebhookName;
use crate::store::{Counting as _, Counts, Store, WebhookCounts};

/// The database is counted at most this often, however many requests there are …
const FRESH: Duration = Duration::from_secs(5);

/// … and not again for this many times as long as the last count took.
const PAUSE_FACTOR: u32 = 50;

/// Pause after a count whose request was dropped: it may still be running.
const ABANDONED: Duration = Duration::from_secs(60);

/// How long a page waits for a count that is due.
pub(super) const SOON: Duration = Duration::from_millis(100);

/// The last count. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    counting: Arc<Mutex<Schedule>>,
    last: Arc<RwLock<Option<Counted>>>,
}

/// A count, and when it was made.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) counts: Arc<Counts>,
    pub(super) at: Instant,
}

impl Counted {
    /// What was counted of a webhook.
    pub(super) fn of(&self, webhook: &WebhookName) -> Option<&WebhookCounts> {
        let mut webhooks = self.counts.webhooks.iter();
        webhooks.find(|each| each.name == *webhook)
    }
}

/// When the next count may begin.
#[derive(Debug, Default)]
struct Schedule {
    webhooks: Vec<WebhookName>,
    next_at: Option<Instant>,
}

impl Figures {
    /// The last count, after another one if that is due. One at a time: a second request waits and uses the first one's.
    pub(super) async fn renewed(
        &self,
        store: &Store,
        budget: &Budget,
        webhooks: Vec<WebhookName>,
    ) -> Option<Arc<Counts>> {
        let mut schedule = self.counting.lock().await;
        let is_due = schedule.next_at.is_none_or(|at| at <= Instant::now());
        if (is_due || schedule.webhooks != webhooks)
            // Else the last count stays in use.
            && let Ok(_scan) = budget.scan().await
        {
            let began = Instant::now();
            schedule.next_at = Some(began + ABANDONED);
            let counts = match store.counts(&webhooks).await {
                Ok(counts) => Some(Counted {
                    counts: Arc::new(counts),
                    at: began,
                }),
                Err(error) => {
                    tracing::debug!(%error, "the database cannot be counted just now; its metrics are left out");
                    None
                }
            };
            *self.last.write() = counts;
            schedule.webhooks = webhooks;
            schedule.next_at = Some(Instant::now() + FRESH.max(began.elapsed() * PAUSE_FACTOR));
        }
        drop(schedule);
        self.last().map(|last| last.counts)
    }

    /// For a page: the last count, or another one if that is due and comes soon.
    pub(super) async fn soon(&self, parts: &Parts) -> Option<Counted> {
        let is_due = match self.counting.try_lock() {
            Ok(schedule) => schedule.next_at.is_none_or(|at| at <= Instant::now()),
            // It is being counted.
            Err(_) => true,
        };
        if is_due {
            let (own, parts) = (self.clone(), parts.clone());
            let counting = tokio::spawn(async move {
                let webhooks = webhooks(&parts);
                own.renewed(&parts.store, &parts.budget, webhooks).await
            });
            // What comes later is shown later.
            let _ = tokio::time::timeout(SOON, counting).await;
        }
        self.last()
    }

    fn last(&self) -> Option<Counted> {
        self.last.read().clone()
    }
}

/// The webhooks that are counted: those of the configuration, and others for which events wait.
pub(super) fn webhooks(parts: &Parts) -> Vec<WebhookName> {
    let gauges = parts.health.gauges();
    let mut webhooks: Vec<WebhookName> =
        gauges.webhooks.into_iter().map(|(name, _)| name).collect();
    webhooks.extend(gauges.stranded);
    webhooks.sort_unstable();
    webhooks.dedup();
    webhooks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::core::job::JobState;
    use crate::core::time::UnixMillis;
    use crate::status::Limits;
    use crate::store::{Jobs as _, NewJob};

    fn pending(counts: Option<&Counts>) -> Option<u64> {
        let jobs = &counts?.jobs;
        let found = jobs.iter().find(|(state, _)| *state == JobState::Pending);
        found.map(|(_, jobs)| *jobs)
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_it_is_asked_for_the_database_is_counted_every_five_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::driven(UnixMillis(0));
        let file = folder.path().join("jobs.db");
        let store = Store::create_or_migrate(&file, clock.clone())
            .await
            .unwrap();
        let (figures, budget) = (Figures::default(), Budget::new(&Limits::default()));
        let mut seen = Vec::new();
        for second in 0..12 {
            let job = NewJob {
                id: second.to_string(),
                ..NewJob::default()
            };
            assert!(store.enqueue(&job).await.unwrap());
            let counts = figures.renewed(&store, &budget, Vec::new()).await;
            seen.push(pending(counts.as_deref()).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(seen, [1, 1, 1, 1, 1, 6, 6, 6, 6, 6, 11, 11]);
        let webhooks = vec![WebhookName::new("new")];
        let counts = figures.renewed(&store, &budget, webhooks.clone()).await;
        assert_eq!(
            pending(counts.as_deref()),
            Some(12),
            "other webhooks are other figures"
        );
        store.close().await;
        tokio::time::advance(FRESH).await;
        let counts = figures.renewed(&store, &budget, webhooks).await;
        assert_eq!(counts, None, "what is not counted is left out");
    }
}
