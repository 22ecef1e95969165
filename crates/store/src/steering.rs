//! The verbs of operators: webhooks switched off and on, events sent again, and what there is to see of deliveries.

use serde::{Deserialize, Serialize};

use super::{AttemptView, DeliveryView, Store, StoreError};
use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// What one transaction of a longer piece of work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// So many deliveries.
    pub deliveries: u64,
    /// Whether nothing is left to do.
    pub is_last: bool,
}

/// What the end of pauses did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The origins whose pause was in force, and until when.
    pub pauses: Vec<(String, UnixMillis)>,
    /// Jobs that were throttled and are polled at once.
    pub jobs: u64,
}

/// Which events are sent again: those that everything given here is true of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFilter {
    /// Only this event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<String>,
    /// Only events of this job.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job: Option<String>,
    /// Only to this webhook.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub webhook: Option<String>,
    /// Only what happened then or later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<UnixMillis>,
    /// Only what happened then or earlier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<UnixMillis>,
    /// Only events of this type, by name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<String>,
    /// Only what was given up.
    #[serde(default)]
    pub failed_only: bool,
    /// At most this many deliveries.
    pub limit: u64,
}

/// A delivery that is to be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayable {
    /// Its event's place in the order of commits.
    pub cursor: i64,
    /// Its event.
    pub event_id: String,
    /// The event's job.
    pub job_id: JobId,
    /// The event's type, by name.
    pub kind: String,
    /// When the event happened.
    pub created_at: UnixMillis,
    /// The webhook.
    pub webhook: String,
    /// Where it stands now.
    pub state: DeliveryState,
    /// Whether the webhook is disabled: it is left alone then.
    pub is_disabled: bool,
}

/// A part of what a replay sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayPage {
    /// In the order of commits, all deliveries of an event together.
    pub deliveries: Vec<Replayable>,
    /// The event to go on behind.
    pub reached: i64,
    /// Whether there is nothing behind it.
    pub is_last: bool,
}

/// A replay that has been begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its number.
    pub id: i64,
    /// What it sends.
    pub filter: ReplayFilter,
    /// When it was begun.
    pub started_at: UnixMillis,
    /// The event it has come to.
    pub reached: i64,
    /// Deliveries it has made pending.
    pub deliveries: u64,
}

/// Which deliveries are listed: those that everything given here is true of.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those to this webhook.
    pub webhook: Option<String>,
    /// Only those of this job.
    pub job: Option<JobId>,
    /// Only those of events of this type.
    pub kind: Option<EventType>,
    /// Only those of events before this place.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Its event's place in the order of commits.
    pub cursor: i64,
    /// Its event's job.
    pub job_id: JobId,
    /// Its event's type, by name.
    pub kind: String,
    /// When its event happened.
    pub created_at: UnixMillis,
    /// Where it stands.
    pub delivery: DeliveryView,
}

/// A part of a list of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The newest events first.
    pub deliveries: Vec<ListedDelivery>,
    /// Why others that belong there cannot be read.
    pub unreadable: Vec<String>,
    /// The event that the search has come to; `None` when it has seen everything.
    pub stopped: Option<i64>,
}

/// An attempt of `jobtrackd webhook test`, which belongs to no delivery.
#[derive(Debug, Clone)]
pub struct TestAttempt {
    /// What was sent as `webhook-id`; begins with `test_`.
    pub event_id: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// When it began.
    pub started_at: UnixMillis,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer's body, escaped.
    pub answer: Option<String>,
    /// Why that is not all of it.
    pub answer_cut: Option<&'static str>,
}

impl Store {
    /// Ends every pause that an API asked for, here and in the daemon that has this database, and has the jobs polled that
    /// wait because they were throttled.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn resume_upstreams(&self) -> Result<Resumed, StoreError> {
        match self {
            Self::Sqlite(store) => store.resume_upstreams().await,
        }
    }

    /// The names of webhooks of which anything is remembered, and how often an operator has asked the daemon to look at
    /// each again.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_asks(&self) -> Result<Vec<(WebhookName, i64)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.webhook_asks().await,
        }
    }

    /// The names of webhooks that something waits for or of which anything is remembered, sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_names(&self) -> Result<Vec<WebhookName>, StoreError> {
        match self {
            Self::Sqlite(store) => store.webhook_names().await,
        }
    }

    /// The latest attempts at a webhook among those of the 10,000 latest events, the newest first, tests included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_attempts(
        &self,
        webhook: &WebhookName,
        limit: u32,
    ) -> Result<Vec<AttemptView>, StoreError> {
        match self {
            Self::Sqlite(store) => store.latest_attempts(webhook, limit).await,
        }
    }

    /// Switches a webhook on: a page of its disabled deliveries becomes pending, in order, then what waits for a retry becomes
    /// due, and with the last page its hold or rest is forgotten. A disabled one is sent nothing until then.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn enable_webhook(&self, webhook: &WebhookName) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(store) => store.enable_webhook(webhook).await,
        }
    }

    /// Switches a webhook off, from the first page on, for this reason unless it is off already; a page of its pending
    /// deliveries becomes disabled.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn disable_webhook(
        &self,
        webhook: &WebhookName,
        reason: &str,
    ) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(store) => store.disable_webhook(webhook, reason).await,
        }
    }

    /// What a replay would send, behind the event `after`. One look goes through 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: i64,
    ) -> Result<ReplayPage, StoreError> {
        match self {
            Self::Sqlite(store) => store.replayable(filter, after).await,
        }
    }

    /// Writes down that a replay begins.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_replay(&self, filter: &ReplayFilter) -> Result<Replay, StoreError> {
        match self {
            Self::Sqlite(store) => store.begin_replay(filter).await,
        }
    }

    /// Makes the deliveries of a page pending, and moves the replay on. `None` when it is not where it was: another
    /// program goes on with it.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn replay(
        &self,
        replay: &Replay,
        page: &ReplayPage,
    ) -> Result<Option<Replay>, StoreError> {
        match self {
            Self::Sqlite(store) => store.replay(replay, page).await,
        }
    }

    /// Replays that have been begun and not finished, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished_replays(&self) -> Result<Vec<Replay>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unfinished_replays().await,
        }
    }

    /// A page of deliveries, those of the newest events first. One look goes through 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<DeliveryPage, StoreError> {
        match self {
            Self::Sqlite(store) => store.list_deliveries(filter).await,
        }
    }

    /// Keeps an attempt of a test.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_test(&self, attempt: &TestAttempt) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.record_test(attempt).await,
        }
    }
}
