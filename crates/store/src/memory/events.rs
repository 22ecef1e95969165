//! Events in the order of their commits, for receivers that catch up.

use jobtrackd_core::event::EventType;

use super::rows::Event;
use super::store::Store;
use super::tables::Tables;
use crate::{EventFilter, EventPage, Events, LatestEvents, LatestPage, RecordedEvent, Result};

/// Most events that one search for a type goes through.
const WINDOW: i64 = 10_000;

/// Most characters of what distinguishes an event.
const DETAIL: usize = 200;

impl Events for Store {
    async fn newest_event(&self) -> Result<i64> {
        self.read(|tables| Ok(tables.newest_cursor()))
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        self.read(|tables| Ok(tables.event(id).is_some()))
    }

    async fn latest_events(&self, wanted: &LatestEvents) -> Result<LatestPage> {
        self.read(|tables| {
            let newest = tables.newest_cursor();
            let before = wanted.before.unwrap_or(i64::MAX).min(newest + 1);
            let first = (before - WINDOW).max(0);
            let found = tables.events.range(first..before.max(first)).rev();
            let found = found
                .map(|(_, event)| event)
                .filter(|event| wanted.kind.is_none_or(|kind| kind == event.kind));
            let events = found
                .take(wanted.limit as usize)
                .map(|event| RecordedEvent {
                    body: String::new(),
                    ..event.recorded(tables.detail_of(event))
                });
            Ok(LatestPage::of(events.collect(), first, wanted.limit))
        })
    }

    async fn events(&self, filter: &EventFilter) -> Result<EventPage> {
        self.read(|tables| {
            let newest = tables.newest_cursor();
            let last = match (&filter.job, filter.kind) {
                (None, Some(_)) => newest.min(filter.after.saturating_add(WINDOW)),
                _ => newest,
            };
            let all = tables.events.range(filter.after.saturating_add(1)..);
            let found = all.map(|(_, event)| event).filter(|event| {
                event.cursor <= last
                    && filter.kind.is_none_or(|kind| kind == event.kind)
                    && filter.job.as_ref().is_none_or(|job| *job == event.job_id)
            });
            let (mut events, mut bytes) = (Vec::new(), 0);
            for event in found.take(filter.limit as usize) {
                if bytes >= filter.bytes as usize {
                    break;
                }
                bytes += event.body.len();
                let detail = filter.detail.then(|| tables.detail_of(event)).flatten();
                events.push(event.recorded(detail));
            }
            let full = events.len() >= filter.limit as usize || bytes >= filter.bytes as usize;
            let reached = match events.last() {
                Some(last) if full => last.cursor,
                _ => last.max(filter.after),
            };
            Ok(EventPage {
                events,
                reached,
                complete: reached >= newest,
            })
        })
    }
}

impl Event {
    fn recorded(&self, detail: Option<String>) -> RecordedEvent {
        RecordedEvent {
            cursor: self.cursor,
            id: self.id.clone(),
            job_id: self.job_id.clone(),
            sequence: self.sequence,
            kind: self.kind,
            created_at: self.created_at,
            detail,
            body: self.body.as_ref().to_owned(),
        }
    }
}

impl Tables {
    /// The cursor of the newest event that is there, 0 when there is none.
    pub(super) fn newest_cursor(&self) -> i64 {
        self.events.keys().next_back().copied().unwrap_or(0)
    }

    /// What distinguishes an event from others of its type.
    fn detail_of(&self, event: &Event) -> Option<String> {
        let detail = match event.kind {
            EventType::Failed => {
                let failure = self.jobs.get(&event.job_id)?.failure.as_ref()?;
                let code = failure.code.text();
                let code = code.map(|code| code.trim_matches(' ').to_owned());
                let code = code.filter(|code| !code.is_empty());
                code.unwrap_or_else(|| failure.kind.as_str().to_owned())
            }
            EventType::StepChanged => {
                let key = (event.job_id.clone(), event.transition_seq?);
                let transition = self.transitions.get(&key)?;
                format!("{}: {}", transition.title, transition.to)
            }
            _ => event.step.clone()?,
        };
        Some(detail.chars().take(DETAIL).collect())
    }
}
