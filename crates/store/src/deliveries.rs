//! Deliveries and attempts at them.

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::rows::DueDeliveries;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// The delivery of one event to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The event's number in the order of commits.
    pub cursor: i64,
    /// The event.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
    /// Its sequence in the job.
    pub sequence: u32,
    /// Its type.
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
    /// The webhook.
    pub webhook: WebhookName,
    /// Its state.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt_at: Option<UnixMillis>,
    /// When it was answered with 2xx.
    pub delivered_at: Option<UnixMillis>,
    /// The last answer's status.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was given up because it had expired.
    pub expired_at: Option<UnixMillis>,
    /// The webhook that did not get the event, so that this one does.
    pub fallback_for: Option<String>,
}

/// Which deliveries are listed: those that match every condition.
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
    /// Only those of events before this cursor.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A part of a list of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The newest events first.
    pub deliveries: Vec<DeliveryRow>,
    /// Why others that belong there cannot be read.
    pub unreadable: Vec<String>,
    /// The last event that was searched; `None` when all were.
    pub stopped: Option<i64>,
}

/// Deliveries: which are due, and lists of them.
pub trait Deliveries {
    /// The heads of a webhook's lanes that are due at `now`, longest due first, without those of the events `except`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        except: &[String],
        limit: u32,
    ) -> impl Future<Output = Result<DueDeliveries>> + Send;

    /// Those of them that will expire, in the same order.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn expiring_deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> impl Future<Output = Result<DueDeliveries>> + Send;

    /// The heads of a webhook's lanes, due or not, in the order in which a held webhook is probed: those that were never
    /// tried first, then those whose last attempt is longest ago. Those that have expired at `now` are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn deliveries_to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> impl Future<Output = Result<DueDeliveries>> + Send;

    /// Which of the first 10,000 heads of a webhook's lanes cannot be read because another program has changed their rows,
    /// and why. They are not sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn unreadable_deliveries(
        &self,
        webhook: &WebhookName,
    ) -> impl Future<Output = Result<Vec<(String, String)>>> + Send;

    /// The exact bytes of an event that is still to be sent to a webhook; `None` when it no longer is: it was given up,
    /// disabled or deleted, or an earlier one goes first.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn body_to_send(
        &self,
        webhook: &WebhookName,
        event_id: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>>> + Send;

    /// When the webhook's next delivery falls due after `now`, if any waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Option<UnixMillis>>> + Send;

    /// How many deliveries are pending, counted up to `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn pending_deliveries(&self, limit: u32) -> impl Future<Output = Result<u32>> + Send;

    /// A page of deliveries, those of the newest events first. One call searches 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> impl Future<Output = Result<DeliveryPage>> + Send;
}
