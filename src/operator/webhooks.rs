//! Webhooks: enabled, disabled, and their deliveries given up.

use anyhow::{anyhow, bail};

use super::every;
use crate::core::delivery::WebhookName;
use crate::core::text::nearest;
use crate::store::{Backlogs as _, Events as _, Page, Store, Unwanted, Webhooks as _};
use crate::webhook::WebhookSettings;
use crate::words::{count, outside};

/// Longest reason for which a webhook is disabled, in bytes.
const REASON_BYTES: usize = 200;

/// A reason that fits.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        1..=REASON_BYTES => Ok(text.to_owned()),
        _ => Err(format!("write 1 to {REASON_BYTES} bytes")),
    }
}

/// A webhook of the configuration or of the database.
///
/// # Errors
/// When it is neither, or the database cannot be read.
pub(crate) async fn known(
    name: &str,
    configured: Vec<WebhookName>,
    store: &Store,
) -> anyhow::Result<WebhookName> {
    let mut names = configured;
    names.extend(store.webhook_names().await?);
    let wanted = WebhookName::new(name);
    match names.contains(&wanted) {
        true => Ok(wanted),
        false => Err(unknown(name, &names)),
    }
}

/// The names of the webhooks of the configuration.
pub(crate) fn names_of(webhooks: &[WebhookSettings]) -> Vec<WebhookName> {
    webhooks.iter().map(|each| each.name.clone()).collect()
}

/// The error for a webhook that does not exist.
pub(crate) fn unknown(name: &str, names: &[WebhookName]) -> anyhow::Error {
    let near = match nearest(name, names.iter().map(WebhookName::as_str)) {
        Some(near) => format!("; did you mean {near}? List"),
        None => "; list".to_owned(),
    };
    let name = outside(name, 64);
    anyhow!("there is no webhook {name}{near} those there are with: jobtrackd webhook list")
}

/// Makes what is disabled pending again, and returns how many deliveries.
///
/// # Errors
/// When the database cannot be written.
pub(crate) async fn enable(name: &WebhookName, store: &Store) -> anyhow::Result<u64> {
    let Page { deliveries, .. } = every(|| store.enable_webhook(name)).await?;
    Ok(deliveries)
}

/// What enabling a webhook has done, in a sentence.
pub(crate) fn enabled(name: &WebhookName, deliveries: u64) -> String {
    let events = count(deliveries, "event");
    format!("{name} is enabled; {events} of those that were disabled will be sent")
}

/// Sends nothing to a webhook from now on, and returns how many deliveries wait.
///
/// # Errors
/// When the database cannot be written.
pub(crate) async fn disable(
    name: &WebhookName,
    reason: Option<&str>,
    store: &Store,
) -> anyhow::Result<u64> {
    let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let reason = format!("by an operator{why}");
    let Page { deliveries, .. } = every(|| store.disable_webhook(name, &reason)).await?;
    Ok(deliveries)
}

/// What disabling a webhook has done, in a sentence.
pub(crate) fn disabled(name: &WebhookName, deliveries: u64) -> String {
    let events = count(deliveries, "event");
    format!("nothing is sent to {name} until: jobtrackd webhook enable {name}; {events} will wait")
}

/// Gives deliveries up, and returns how many.
///
/// # Errors
/// When there is no such event or webhook, or the database cannot be written.
pub(crate) async fn give_up(unwanted: &Unwanted, store: &Store) -> anyhow::Result<u64> {
    let (event, webhook) = match unwanted {
        Unwanted::Event(event) => (Some(event), None),
        Unwanted::EventOf(event, webhook) => (Some(event), Some(webhook)),
        Unwanted::AllOf(webhook) => (None, Some(webhook)),
    };
    if let Some(event) = event
        && !store.has_event(event).await?
    {
        bail!(
            "there is no event {}; find those that wait with: jobtrackd deliveries --state pending",
            outside(event, 64)
        );
    }
    let Page { deliveries, .. } = every(|| store.give_up(unwanted)).await?;
    if let Some(webhook) = webhook.filter(|_| deliveries == 0) {
        let names = store.webhook_names().await?;
        if !names.contains(webhook) {
            let near = nearest(webhook.as_str(), names.iter().map(WebhookName::as_str));
            let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            let webhook = outside(webhook.as_str(), 64);
            bail!("a webhook {webhook} has no deliveries{near}");
        }
    }
    Ok(deliveries)
}

/// What giving up has done, in a sentence.
pub(crate) fn given_up(deliveries: u64) -> String {
    match deliveries {
        0 => "no such delivery waits to be sent".to_owned(),
        1 => "1 delivery given up".to_owned(),
        many => format!("{many} deliveries given up"),
    }
}

/// Has a webhook take the place of another one: it gets the events that wait there, and the running jobs that name it.
///
/// # Errors
/// When it is not configured, the other one does not exist, both are the same, or the database cannot be written.
pub(crate) async fn hand_over(
    from: &WebhookName,
    to: &WebhookName,
    configured: &[WebhookName],
    store: &Store,
) -> anyhow::Result<Page> {
    if !configured.contains(to) {
        return Err(unknown(to.as_str(), configured));
    }
    if from == to {
        bail!("that is the same webhook");
    }
    let names = store.webhook_names().await?;
    let moved = every(|| store.move_deliveries(from, to)).await?;
    let is_known = names.contains(from) || configured.contains(from);
    if moved.deliveries + moved.jobs == 0 && !is_known {
        return Err(unknown(from.as_str(), &names));
    }
    Ok(moved)
}

/// What a move has done, in a sentence.
pub(crate) fn handed_over(from: &WebhookName, to: &WebhookName, moved: &Page) -> String {
    let events = count(moved.deliveries, "event");
    let jobs = count(moved.jobs, "running job");
    let from = outside(from.as_str(), 64);
    format!("{to} takes the place of {from}: {events}, {jobs}")
}

/// What is to be known of a webhook that was moved and is still configured.
pub(crate) fn still_configured(from: &WebhookName) -> String {
    format!("{from} is still in the configuration and gets new events")
}
