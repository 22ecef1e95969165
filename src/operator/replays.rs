//! Sending events again: counted first, then made pending page by page.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::time::UnixMillis;
use crate::store::{DeliveryRow, Replay, ReplayFilter, ReplayPage, Replays as _, Store};
use crate::words::{self, count};

/// Deliveries of a count that are kept one by one.
const SHOWN: usize = 20;

/// Counts what was, or would be, sent again.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Deliveries that are sent again.
    pub(crate) deliveries: u64,
    /// By webhook and type.
    pub(crate) by_kind: BTreeMap<(WebhookName, EventType), u64>,
    /// Left alone, by webhook.
    pub(crate) disabled: BTreeMap<WebhookName, u64>,
    /// When the first of the events happened.
    pub(crate) first: Option<UnixMillis>,
    /// When the last of them happened.
    pub(crate) last: Option<UnixMillis>,
    /// There are more than may be sent.
    pub(crate) more: bool,
    /// Why deliveries are left out that cannot be read.
    pub(crate) unreadable: Vec<String>,
    /// The first of them.
    pub(crate) shown: Vec<DeliveryRow>,
}

/// Counts what a replay would send, and sends nothing. It reads at most this many pages.
///
/// # Errors
/// When the database cannot be read, or there are more pages.
pub(crate) async fn counted(
    filter: &ReplayFilter,
    now: UnixMillis,
    store: &Store,
    pages: usize,
) -> anyhow::Result<Tally> {
    let replay = Replay {
        id: 0,
        filter: filter.clone(),
        started_at: now,
        reached: 0,
        deliveries: 0,
    };
    carried_out(replay, Some(pages), store).await
}

/// Makes what is left of a replay pending, each page in one transaction.
///
/// # Errors
/// When another program carries it out, or the database cannot be written.
pub(crate) async fn sent(replay: Replay, store: &Store) -> anyhow::Result<Tally> {
    carried_out(replay, None, store).await
}

/// `counted`: nothing is sent, and at most this many pages are read.
async fn carried_out(
    mut replay: Replay,
    counted: Option<usize>,
    store: &Store,
) -> anyhow::Result<Tally> {
    let (mut tally, mut pages) = (Tally::default(), 0);
    loop {
        let mut page = store.replayable(&replay.filter, replay.reached).await?;
        let left = replay.filter.limit.saturating_sub(replay.deliveries);
        tally.more = shorten(&mut page, left);
        tally.add(&page);
        pages += 1;
        if let Some(most) = counted {
            replay.reached = page.reached;
            replay.deliveries = tally.deliveries;
            // Whatever follows is not sent; the last page would only say whether there is something.
            if tally.deliveries >= replay.filter.limit && !page.is_last {
                tally.more = true;
                return Ok(tally);
            }
            if pages == most && !page.is_last {
                bail!("too many events are to be looked at; name a later time or a job");
            }
        } else {
            let next = store.replay(&replay, &page).await?;
            replay = next
                .with_context(|| format!("another program is continuing replay {}", replay.id))?;
        }
        if page.is_last {
            return Ok(tally);
        }
    }
}

/// Shortens a page to what is left; returns whether there was more.
fn shorten(page: &mut ReplayPage, left: u64) -> bool {
    let mut taken = 0;
    let end = page.deliveries.iter().position(|each| {
        taken += u64::from(!page.disabled.contains(&each.webhook));
        taken > left
    });
    let Some(end) = end else {
        return false;
    };
    page.deliveries.truncate(end);
    page.is_last = true;
    true
}

impl Tally {
    /// Nothing, unless the replay has sent nothing at all.
    ///
    /// # Errors
    /// Why it has sent nothing.
    pub(crate) fn verdict(&self, sent_before: u64, is_new: bool) -> anyhow::Result<()> {
        if self.deliveries + sent_before > 0 {
            return Ok(());
        }
        match self.disabled.first_key_value() {
            Some((webhook, _)) => bail!(
                "{webhook} is disabled; enable it first with: jobtrackd webhook enable {webhook}"
            ),
            None if is_new => bail!("no such delivery; look for it with: jobtrackd deliveries"),
            None => Ok(()),
        }
    }

    fn add(&mut self, page: &ReplayPage) {
        self.unreadable.extend(page.unreadable.iter().cloned());
        for delivery in &page.deliveries {
            if page.disabled.contains(&delivery.webhook) {
                *self.disabled.entry(delivery.webhook.clone()).or_default() += 1;
                continue;
            }
            self.deliveries += 1;
            let key = (delivery.webhook.clone(), delivery.kind);
            *self.by_kind.entry(key).or_default() += 1;
            self.first = self.first.or(Some(delivery.created_at));
            self.last = Some(delivery.created_at);
            if self.shown.len() < SHOWN {
                self.shown.push(delivery.clone());
            }
        }
    }

    /// How many events, with the word for what happens to them, and from when: `3 events will be sent again, from …`.
    pub(crate) fn sentence(&self, verb: &str) -> String {
        let mut span = String::new();
        if let Some((first, last)) = self.first.zip(self.last) {
            span = format!(", from {} to {}", words::moment(first), words::moment(last));
        }
        let events = count(self.deliveries, "event");
        format!("{events} {verb} sent again{span}")
    }

    /// What is left alone because its webhook is disabled.
    pub(crate) fn left_alone(&self) -> impl Iterator<Item = String> {
        self.disabled.iter().map(|(webhook, left)| {
            let (events, webhook) = (count(*left, "event"), words::outside(webhook.as_str(), 64));
            format!(
                "{events} of {webhook} not sent: it is disabled; jobtrackd webhook enable {webhook}"
            )
        })
    }
}
