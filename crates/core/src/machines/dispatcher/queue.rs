//! Due deliveries that were read and wait for a free place.

use std::collections::{BTreeSet, VecDeque};

use super::messages::{Effect, Report};
use crate::rows::{DueDeliveries, DueDelivery};

/// Deliveries read at once. They wait in memory until the webhook's limit allows them. Each read goes past those in flight
/// and those that are being recorded, which together may be as many as this.
const PAGE: u32 = 128;

/// Most unreadable deliveries that are skipped; more of them may block the deliveries after them.
const MAX_UNREADABLE: usize = 10_000;

/// Due deliveries, the longest due first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    deliveries: VecDeque<DueDelivery>,
    /// Whether others may be due.
    more: bool,
    /// Events of deliveries that cannot be read; reported once and skipped.
    unreadable: BTreeSet<String>,
}

impl Queue {
    pub(super) fn pop(&mut self) -> Option<DueDelivery> {
        self.deliveries.pop_front()
    }

    pub(super) fn extend(&mut self, due: Vec<DueDelivery>) {
        self.deliveries.extend(due);
    }

    /// Forgets what was read; it is read again.
    pub(super) fn clear(&mut self) {
        self.deliveries.clear();
        self.more = true;
    }

    /// Others may have become due.
    pub(super) fn read_again(&mut self) {
        self.more = true;
    }

    /// Whether others may be due; they are to be read then.
    pub(super) fn take_more(&mut self) -> bool {
        std::mem::take(&mut self.more)
    }

    /// How many deliveries are to be read at once, with the unreadable ones.
    pub(super) fn page(&self) -> u32 {
        PAGE.saturating_add(self.unreadable())
    }

    /// How many deliveries in the table are skipped.
    pub(super) fn unreadable(&self) -> u32 {
        u32::try_from(self.unreadable.len()).unwrap_or(u32::MAX)
    }

    /// The deliveries that could be read, and whether there were others that are new; these are reported.
    pub(super) fn readable(
        &mut self,
        found: DueDeliveries,
        effects: &mut VecDeque<Effect>,
    ) -> (Vec<DueDelivery>, bool) {
        let mut is_new = false;
        for (event_id, error) in found.unreadable {
            if self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(event_id.clone()) {
                is_new = true;
                let report = Report::Unreadable { event_id, error };
                effects.push_back(Effect::Report(report));
            }
        }
        (found.deliveries, is_new)
    }
}
