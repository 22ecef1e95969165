//! What the dispatcher takes in, and what it has done for it.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{FinishedAttempt, Undelivered};
use crate::delivery::{AfterAttempt, AttemptReport, AttemptResult, WebhookName};
use crate::job::JobId;
use crate::rows::{DueDeliveries, DueDelivery, WebhookHealth};
use crate::time::UnixMillis;

/// What decides when something is sent to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: WebhookName,
    /// Delays before the second, third … attempt.
    pub retry: Vec<Duration>,
    /// How many requests may be in flight at once, at least 1.
    pub max_in_flight: usize,
    /// Another webhook, which gets a `job.action_required` that could not be delivered here in time.
    pub fallback: Option<WebhookName>,
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Something new was recorded for the webhook, or an operator has changed something.
    Woken,
    /// Whether outcomes can be recorded; while they cannot, nothing is sent.
    Writable(bool),
    /// The settings from now on; `None`: the webhook is not configured, and nothing is sent. Attempts keep those they began
    /// with.
    Settings(Option<Arc<Settings>>),
    /// The answer to the query that is open.
    Answer(Answer),
    /// The request in the lane of this job has ended.
    Sent(JobId, AttemptReport),
    /// No request was sent in the lane of this job: its event is no longer to be sent, or it cannot be sent now.
    NotSent(JobId),
    /// The attempt in the lane of this job was recorded; `false` if that was refused, or its delivery has had another one.
    Recorded(JobId, bool),
    /// The expired events were given up; `false` if that was refused.
    GaveUp(bool),
    /// The process ends: from now on only attempts in flight are finished.
    Stop,
}

/// A question to the database about the webhook. The next one comes after its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Shorten waits that a clock which was ahead has set: a retry to `longest` at most. Answered by [`Answer::Clamped`].
    Clamp {
        /// The longest delay before a retry.
        longest: Duration,
    },
    /// The webhook's row. Answered by [`Answer::Row`].
    Row,
    /// When the next undelivered event expires. Answered by [`Answer::Next`].
    NextExpiry {
        /// Later than this.
        after: UnixMillis,
    },
    /// Undelivered events that have expired. Answered by [`Answer::Expired`].
    Expired {
        /// By this time.
        at: UnixMillis,
        /// At most so many.
        limit: u32,
    },
    /// Heads of lanes that are due, longest due first. Answered by [`Answer::Deliveries`].
    Due {
        /// At this time.
        at: UnixMillis,
        /// Without these events, which are being sent or recorded.
        except: Vec<String>,
        /// At most so many.
        limit: u32,
    },
    /// Those of them that will expire. Answered by [`Answer::Deliveries`].
    Expiring {
        /// Due at this time.
        at: UnixMillis,
        /// At most so many.
        limit: u32,
    },
    /// Heads of lanes, due or not, in the order of probes. Answered by [`Answer::Deliveries`].
    ToProbe {
        /// Those that have expired by this time are left out.
        expired: UnixMillis,
        /// At most so many.
        limit: u32,
    },
    /// When the next delivery falls due. Answered by [`Answer::Next`].
    NextDelivery {
        /// Later than this.
        after: UnixMillis,
    },
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// How many deliveries were changed; there may be more until it is 0.
    Clamped(u64),
    /// The row.
    Row(Box<WebhookHealth>),
    /// The time, if there is one.
    Next(Option<UnixMillis>),
    /// Without their fallbacks.
    Expired(Vec<Undelivered>),
    /// Heads of lanes.
    Deliveries(DueDeliveries),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Ask the database; one query is open at a time, and none while events are given up.
    Query(Query),
    /// Send the event, with the settings that were the last input. Without a body it is a large one, to be read now; if there
    /// is none any more, nothing is sent. Answered by [`Input::Sent`] or [`Input::NotSent`].
    Send(Box<DueDelivery>),
    /// Record the attempt. Answered by [`Input::Recorded`].
    Record(Box<FinishedAttempt>),
    /// Give up expired events. Answered by [`Input::GaveUp`].
    GiveUp(Vec<Undelivered>),
    /// Log or count this.
    Report(Report),
}

/// What is only logged or counted.
#[derive(Debug)]
pub enum Report {
    /// The webhook's row as it was read.
    Row(Box<WebhookHealth>),
    /// Another program has changed the row of a delivery, which is not sent. Reported once.
    Unreadable {
        /// The event; from outside.
        event_id: String,
        /// Why; from outside.
        error: String,
    },
    /// A request has ended.
    Attempted {
        /// Its result.
        result: AttemptResult,
        /// What follows for the event.
        after: AfterAttempt,
        /// How long it took.
        duration: Duration,
        /// The time since the event.
        lag: Duration,
    },
}
