//! Events that are worth nothing any more before a webhook took them, and who is told instead.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::json;
use super::lanes::{Lane, demote_others};
use super::rows::Reading;
use super::store::Store;
use crate::{AttemptRecord, ExpiredDelivery, Expiry, StoreError};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

/// Heads or not, and disabled ones too: the time of their challenge runs out all the same.
pub(super) const EXPIRED: &str = "
    SELECT event_id, job_id FROM deliveries
    WHERE webhook = ?1 AND state IN ('pending', 'disabled') AND expires_at <= ?2
    ORDER BY expires_at LIMIT ?3";

pub(super) const NEXT_EXPIRY: &str = "
    SELECT min(expires_at) FROM deliveries
    WHERE webhook = ?1 AND state IN ('pending', 'disabled') AND expires_at > ?2";

pub(super) const RECORD_EXPIRIES: &str = "
    UPDATE deliveries SET state = 'exhausted', next_attempt_at = NULL, expired_at = ?2,
        last_error = 'expired: it could not be delivered while its challenge was open'
            || coalesce('; before: ' || last_error, '')
    FROM json_each(?1) AS v
    WHERE deliveries.event_id = v.value ->> 'event_id' AND deliveries.webhook = v.value ->> 'webhook'
      AND deliveries.state IN ('pending', 'disabled') AND deliveries.expires_at <= ?2
    RETURNING deliveries.event_id, deliveries.webhook";

/// A fallback that has been told by itself is not told again. What it is told in another's place expires no more.
pub(super) const TELL_FALLBACKS: &str = "
    INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, fallback_for)
    SELECT d.event_id, v.value ->> 'fallback', d.job_id, d.sequence,
           CASE WHEN w.disabled_at IS NULL THEN 'pending' ELSE 'disabled' END, d.webhook
    FROM json_each(?1) AS v
    JOIN deliveries AS d ON d.event_id = v.value ->> 'event_id' AND d.webhook = v.value ->> 'webhook'
    LEFT JOIN webhooks AS w ON w.name = v.value ->> 'fallback'
    WHERE true
    ON CONFLICT (event_id, webhook) DO NOTHING
    RETURNING webhook, job_id";

impl Store {
    /// The webhook's undelivered events that have expired at `now`, heads or not, disabled ones too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn expired_deliveries(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ExpiredDelivery>, StoreError> {
        let query = sqlx::query(EXPIRED)
            .bind(webhook.as_str())
            .bind(now.0)
            .bind(limit);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        // What cannot be read is not sent either, and is said when it is to be.
        let read = rows.iter().filter_map(|row| {
            let r = Reading::new(row, "deliveries", "event_id");
            Some(ExpiredDelivery {
                event_id: r.text("event_id").ok()?,
                job_id: r.job_id("job_id").ok()?,
            })
        });
        Ok(read.collect())
    }

    /// When the next of the webhook's undelivered events expires after `now`, if any does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_expiry(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let query = sqlx::query(NEXT_EXPIRY).bind(webhook.as_str()).bind(now.0);
        let row = self.read(query.fetch_one(&self.shared.readers)).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(UnixMillis))
    }
}

/// An event that a webhook was not told, and who is told instead.
#[derive(Serialize)]
pub(super) struct Untold<'a> {
    event_id: &'a str,
    webhook: &'a str,
    fallback: &'a str,
}

impl<'a> Untold<'a> {
    /// What follows from an attempt, if anybody is to be told.
    pub(super) fn of(attempt: &'a AttemptRecord) -> Option<Self> {
        let fallback = attempt.fallback.as_ref()?;
        Some(Self {
            event_id: &attempt.event_id,
            webhook: attempt.webhook.as_str(),
            fallback: fallback.as_str(),
        })
    }
}

/// Gives up what has expired by `now`; answers with the lanes whose head may have changed.
pub(super) async fn record_expiries(
    connection: &mut SqliteConnection,
    expiries: &[Expiry],
    now: UnixMillis,
) -> Result<HashSet<Lane>, StoreError> {
    if expiries.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<ExpiryRow<'_>> = expiries.iter().map(ExpiryRow::of).collect();
    let expired = sqlx::query(RECORD_EXPIRIES)
        .bind(json(&rows)?)
        .bind(now.0)
        .fetch_all(&mut *connection)
        .await?;
    let by_key: HashMap<(&str, &str), &Expiry> = expiries
        .iter()
        .map(|expiry| ((expiry.event_id.as_str(), expiry.webhook.as_str()), expiry))
        .collect();
    let mut lanes = HashSet::new();
    let mut untold = Vec::new();
    for row in &expired {
        let key: (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let Some(expiry) = by_key.get(&key) else {
            continue;
        };
        lanes.insert(Lane {
            webhook: expiry.webhook.clone(),
            job_id: expiry.job_id.clone(),
        });
        untold.extend(expiry.fallback.as_ref().map(|fallback| Untold {
            event_id: &expiry.event_id,
            webhook: expiry.webhook.as_str(),
            fallback: fallback.as_str(),
        }));
    }
    lanes.extend(tell_fallbacks(connection, &untold).await?);
    Ok(lanes)
}

/// Makes the deliveries to those who stand in; answers with their lanes. An event may come to its lane late, in front of
/// others that wait there already.
pub(super) async fn tell_fallbacks(
    connection: &mut SqliteConnection,
    untold: &[Untold<'_>],
) -> Result<HashSet<Lane>, StoreError> {
    if untold.is_empty() {
        return Ok(HashSet::new());
    }
    let told = sqlx::query(TELL_FALLBACKS)
        .bind(json(untold)?)
        .fetch_all(&mut *connection)
        .await?;
    let mut lanes = HashSet::new();
    for row in &told {
        let r = Reading::new(row, "deliveries", "webhook");
        lanes.insert(Lane {
            webhook: WebhookName::new(&r.text("webhook")?),
            job_id: r.job_id("job_id")?,
        });
    }
    demote_others(connection, &lanes).await?;
    Ok(lanes)
}

#[derive(Serialize)]
struct ExpiryRow<'a> {
    event_id: &'a str,
    webhook: &'a str,
}

impl<'a> ExpiryRow<'a> {
    fn of(expiry: &'a Expiry) -> Self {
        Self {
            event_id: &expiry.event_id,
            webhook: expiry.webhook.as_str(),
        }
    }
}
