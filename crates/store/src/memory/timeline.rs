//! A job's history in one order, in pages.

use jobtrackd_core::delivery::Attempt;
use jobtrackd_core::job::JobId;

use super::store::Store;
use super::tables::Tables;
use crate::{
    PAGE_BYTES, Result, TimelineEntry, TimelineItem, TimelineKey, TimelinePage, Timelines,
    TransitionRow,
};

impl Timelines for Store {
    async fn timeline(
        &self,
        id: &JobId,
        after: Option<&TimelineKey>,
        limit: u32,
    ) -> Result<Option<TimelinePage>> {
        self.read(|tables| {
            if !tables.jobs.contains(id) {
                return Ok(None);
            }
            let mut all = tables.history_of(id);
            all.retain(|entry| after.is_none_or(|after| order(&entry.key) > order(after)));
            all.sort_by(|a, b| order(&a.key).cmp(&order(&b.key)));
            let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
            for entry in all {
                more = entries.len() >= limit as usize || bytes >= PAGE_BYTES as usize;
                if more {
                    break;
                }
                bytes += bytes_of(&entry.item);
                entries.push(entry);
            }
            let more = more || bytes >= PAGE_BYTES as usize;
            Ok(Some(TimelinePage { entries, more }))
        })
    }
}

fn order(key: &TimelineKey) -> impl Ord {
    (key.at, key.rank, key.n, key.webhook.clone(), key.number)
}

/// About as many bytes as it takes in JSON.
fn bytes_of(item: &TimelineItem) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    match item {
        TimelineItem::Transition(it) => {
            let texts = length(&it.from) + length(&it.result) + length(&it.remote_updated);
            300 + it.title.len() + it.to.len() + texts
        }
        TimelineItem::Event(_) => 300,
        TimelineItem::Delivery(_) => 1000,
        TimelineItem::Attempt(it) => 300 + length(&it.error) + length(&it.answer),
    }
}

impl Tables {
    fn history_of(&self, id: &JobId) -> Vec<TimelineEntry> {
        let mut entries: Vec<TimelineEntry> = Vec::new();
        entries.extend(self.transitions_of(id).map(of_transition));
        for event in self.events_of(id) {
            let key = |rank, webhook: &str| TimelineKey {
                at: event.created_at,
                rank,
                n: event.sequence,
                webhook: webhook.to_owned(),
                number: 0,
            };
            entries.push(TimelineEntry {
                key: key(1, ""),
                item: TimelineItem::Event(event.row()),
            });
            let deliveries = self.rows_of(event).map(|row| TimelineEntry {
                key: key(2, row.webhook.as_str()),
                item: TimelineItem::Delivery(row),
            });
            entries.extend(deliveries);
            let attempts = self.attempts_at(&event.id);
            entries.extend(attempts.map(|attempt| of_attempt(event.sequence, attempt)));
        }
        entries
    }
}

fn of_transition(row: &TransitionRow) -> TimelineEntry {
    TimelineEntry {
        key: TimelineKey {
            at: row.observed_at,
            rank: 0,
            n: row.seq,
            webhook: String::new(),
            number: 0,
        },
        item: TimelineItem::Transition(row.clone()),
    }
}

fn of_attempt(sequence: u32, attempt: &Attempt) -> TimelineEntry {
    TimelineEntry {
        key: TimelineKey {
            at: attempt.started_at,
            rank: 3,
            n: sequence,
            webhook: attempt.webhook.to_string(),
            number: attempt.number,
        },
        item: TimelineItem::Attempt(attempt.clone()),
    }
}
