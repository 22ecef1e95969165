//! What the dispatcher does for its machine, apart from the loop: queries, requests and records.

use std::sync::Arc;

use super::{DispatcherError, Parts, Target};
use crate::core::job::JobId;
use crate::core::machines::dispatcher::{Answer, Query};
use crate::heartbeat::Heartbeat;
use crate::store::{
    Deliveries as _, DueDelivery, Expiry as _, FinishedAttempt, StoreError, Undelivered,
    Webhooks as _, patiently,
};
use crate::webhook::{AttemptReport, Message};

/// What was done beside the loop.
#[derive(Debug)]
pub(super) enum Done {
    /// A request in the lane of this job has ended; `None`: nothing was sent.
    Sent(JobId, Option<AttemptReport>),
    /// An attempt was recorded, or that was refused.
    Recorded(Box<FinishedAttempt>, bool),
    /// Expired events were given up, or that was refused.
    GaveUp(bool),
}

/// Asks the database, and beats at each try.
pub(super) async fn answer(
    parts: Arc<Parts>,
    heartbeat: Heartbeat,
    query: Query,
) -> Result<Answer, StoreError> {
    let Parts { name, store, .. } = &*parts;
    let answer = match query {
        Query::Clamp { longest } => {
            let read = || store.clamp_waits(name, longest);
            Answer::Clamped(heartbeat.read(read).await?)
        }
        Query::Row => {
            let row = heartbeat.read(|| store.webhook_health(name)).await?;
            Answer::Row(Box::new(row))
        }
        Query::NextExpiry { after } => {
            Answer::Next(heartbeat.read(|| store.next_expiry(name, after)).await?)
        }
        Query::Expired { at, limit } => {
            let read = || store.expired_deliveries(name, at, limit);
            Answer::Expired(heartbeat.read(read).await?)
        }
        Query::Due { at, except, limit } => {
            let read = || store.deliveries_due(name, at, &except, limit);
            Answer::Deliveries(heartbeat.read(read).await?)
        }
        Query::Expiring { at, limit } => {
            let read = || store.expiring_deliveries_due(name, at, limit);
            Answer::Deliveries(heartbeat.read(read).await?)
        }
        Query::ToProbe { expired, limit } => {
            let read = || store.deliveries_to_probe(name, expired, limit);
            Answer::Deliveries(heartbeat.read(read).await?)
        }
        Query::NextDelivery { after } => {
            Answer::Next(heartbeat.read(|| store.next_delivery(name, after)).await?)
        }
    };
    Ok(answer)
}

/// Sends an event, unless it is no longer to be sent or we lack sockets.
pub(super) async fn send(
    parts: Arc<Parts>,
    target: Option<Arc<Target>>,
    mut delivery: DueDelivery,
) -> Result<Done, DispatcherError> {
    let body = match delivery.body.take() {
        // A large body is read only now and is in memory only while it is sent.
        None => patiently(|| parts.store.body_to_send(&parts.name, &delivery.event_id)).await?,
        small => small,
    };
    let (Some(target), Some(body)) = (target, body) else {
        return Ok(Done::Sent(delivery.job_id, None));
    };
    let message = Message {
        id: &delivery.event_id,
        body: body.into(),
        attempt: delivery.attempts + 1,
        is_replay: delivery.is_replay,
    };
    let report = target.sender.send(&target.webhook, &message).await.ok();
    Ok(Done::Sent(delivery.job_id, report))
}

pub(super) async fn record(
    parts: Arc<Parts>,
    finished: Box<FinishedAttempt>,
) -> Result<Done, DispatcherError> {
    let attempt = FinishedAttempt::clone(&finished);
    let is_recorded = parts.recorder.attempted(attempt).await?;
    Ok(Done::Recorded(finished, is_recorded))
}

pub(super) async fn give_up(
    parts: Arc<Parts>,
    expiries: Vec<Undelivered>,
) -> Result<Done, DispatcherError> {
    let is_recorded = parts.recorder.expired(expiries).await?;
    Ok(Done::GaveUp(is_recorded))
}
