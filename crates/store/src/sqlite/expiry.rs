//! Events that expire before a webhook accepts them, and the webhooks that get them instead.

use std::collections::{BTreeSet, HashSet};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::json;
use super::lanes::{Lane, demote_others};
use super::rows::{FromRow, read_all};
use super::store::{Store, fetch_all, query};
use crate::{Expiry, Result, Undelivered};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

/// Heads or not, and disabled ones too: the time of their challenge runs out anyway.
pub(super) const EXPIRED: &str = "
    SELECT event_id, webhook, job_id FROM deliveries
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

/// A fallback that subscribes to the event itself does not get it twice. What it gets instead of another webhook does not
/// expire.
pub(super) const GIVE_TO_FALLBACKS: &str = "
    INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, fallback_for)
    SELECT d.event_id, v.value ->> 2, d.job_id, d.sequence,
           CASE WHEN w.disabled_at IS NULL THEN 'pending' ELSE 'disabled' END, d.webhook
    FROM json_each(?1) AS v
    JOIN deliveries AS d ON d.event_id = v.value ->> 0 AND d.webhook = v.value ->> 1
    LEFT JOIN webhooks AS w ON w.name = v.value ->> 2
    WHERE true
    ON CONFLICT (event_id, webhook) DO NOTHING
    RETURNING webhook, job_id";

impl Expiry for Store {
    async fn expired_deliveries(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Undelivered>> {
        let rows = self
            .rows(query!(EXPIRED, webhook.as_str(), now.0, limit))
            .await?;
        // A row that cannot be read is not sent, and is logged when it is due.
        let lanes = rows.iter().filter_map(|row| {
            let Lane { webhook, job_id } = Lane::from_row(row).ok()?;
            Some(Undelivered {
                event_id: row.try_get("event_id").ok()?,
                job_id,
                webhook,
                fallback: None,
            })
        });
        Ok(lanes.collect())
    }

    async fn next_expiry(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        let query = query!(NEXT_EXPIRY, webhook.as_str(), now.0);
        let next: Option<i64> = self.value(query).await?;
        Ok(next.map(UnixMillis))
    }
}

/// Gives up what has expired by `now`; returns the lanes whose head may have changed.
pub(super) async fn record_expiries(
    connection: &mut SqliteConnection,
    expiries: &[Undelivered],
    now: UnixMillis,
) -> Result<BTreeSet<Lane>> {
    if expiries.is_empty() {
        return Ok(BTreeSet::new());
    }
    let expired = fetch_all(connection, query!(RECORD_EXPIRIES, json(expiries)?, now.0)).await?;
    let mut given_up = HashSet::new();
    for row in &expired {
        given_up.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let given_up = expiries
        .iter()
        .filter(|expiry| given_up.contains(&(expiry.event_id.as_str(), expiry.webhook.as_str())));
    let mut lanes: BTreeSet<Lane> = given_up
        .clone()
        .map(|expiry| Lane::of(&expiry.webhook, &expiry.job_id))
        .collect();
    let given_up = given_up.filter_map(|expiry| {
        let fallback = expiry.fallback.as_ref()?;
        Some((expiry.event_id.as_str(), &expiry.webhook, fallback))
    });
    lanes.extend(give_to_fallbacks(connection, given_up).await?);
    Ok(lanes)
}

/// Inserts the deliveries to the fallbacks (event, webhook, fallback); returns their lanes. An event may be inserted before
/// others that already wait in its lane.
pub(super) async fn give_to_fallbacks<'a>(
    connection: &mut SqliteConnection,
    undelivered: impl Iterator<Item = (&'a str, &'a WebhookName, &'a WebhookName)>,
) -> Result<BTreeSet<Lane>> {
    let undelivered: Vec<_> = undelivered.collect();
    if undelivered.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = fetch_all(connection, query!(GIVE_TO_FALLBACKS, json(&undelivered)?)).await?;
    let lanes = read_all(&rows)?.into_iter().collect();
    demote_others(connection, &lanes).await?;
    Ok(lanes)
}
