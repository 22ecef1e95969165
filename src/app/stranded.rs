//! Reports stranded events: those that wait for a webhook that is not configured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::core::delivery::WebhookName;
use crate::core::text::printable;
use crate::store::{Backlogs as _, Store, Unconfigured};
use crate::writer::wakeups::Wakeups;

/// Longest pause between two checks; changes by other programs are found only by them.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Shortest pause between two checks.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Most webhooks that stay in the metrics; rows may name any number.
const MAX_REMEMBERED: usize = 100;

/// Longest name that is logged, in characters.
const NAME_CHARS: usize = 64;

/// The result of the last check. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct StrandedEvents(Arc<RwLock<Found>>);

#[derive(Debug, Default)]
struct Found {
    now: Vec<Unconfigured>,
    /// All webhooks found since the start: their metrics are kept, so that they return to zero.
    ever: BTreeSet<WebhookName>,
}

impl StrandedEvents {
    /// The problems that `/readyz` shows.
    pub(super) fn problems(&self) -> Vec<String> {
        let found = self.0.read();
        found.now.iter().map(sentence).collect()
    }

    /// Number of stranded events.
    pub(super) fn events(&self) -> u64 {
        let found = self.0.read();
        found.now.iter().map(|each| each.events).sum()
    }

    /// The webhooks for which events have waited since the start, up to [`MAX_REMEMBERED`].
    pub(super) fn webhooks(&self) -> Vec<WebhookName> {
        let found = self.0.read();
        found.ever.iter().cloned().collect()
    }

    fn update(&self, now: Vec<Unconfigured>) {
        let mut found = self.0.write();
        let names = |stranded: &[Unconfigured]| -> BTreeSet<WebhookName> {
            stranded.iter().map(|each| each.webhook.clone()).collect()
        };
        let (before, after) = (names(&found.now), names(&now));
        for stranded in now.iter().filter(|each| !before.contains(&each.webhook)) {
            let webhook = printable(stranded.webhook.as_str(), NAME_CHARS);
            warn!(
                webhook,
                events = stranded.events,
                "events wait for a webhook that is not configured; hand them over with: jobtrackd webhook move"
            );
        }
        for webhook in before.difference(&after) {
            let webhook = printable(webhook.as_str(), NAME_CHARS);
            info!(
                webhook,
                "no events wait any more for this webhook, or it is configured"
            );
        }
        let room = MAX_REMEMBERED.saturating_sub(found.ever.len());
        let new: Vec<WebhookName> = after.difference(&found.ever).take(room).cloned().collect();
        found.ever.extend(new);
        found.now = now;
    }
}

fn sentence(stranded: &Unconfigured) -> String {
    let webhook = printable(stranded.webhook.as_str(), NAME_CHARS);
    let events = stranded.wait();
    format!("{events} for the webhook \"{webhook}\", which is not configured")
}

/// The loop that checks for stranded events.
#[derive(Debug)]
pub(super) struct StrandedCheck {
    pub(super) store: Store,
    pub(super) wakeups: Wakeups,
    pub(super) configured: watch::Receiver<Vec<WebhookName>>,
    pub(super) found: StrandedEvents,
}

impl StrandedCheck {
    /// Checks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let configured = self.configured.borrow_and_update().clone();
            match self.store.unconfigured_webhooks(&configured).await {
                Ok(now) => self.found.update(now),
                // The other loops report a database that cannot be read; this one tries again.
                Err(error) => debug!(%error, "whether events are stranded cannot be read just now"),
            }
            let wait = async {
                tokio::select! {
                    () = self.wakeups.stranded() => {}
                    () = tokio::time::sleep(CHECK_INTERVAL) => {}
                }
                tokio::time::sleep(MIN_PAUSE).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.configured.changed() => if changed.is_err() { return },
                () = wait => {}
            }
        }
    }
}
