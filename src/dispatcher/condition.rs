//! The webhook's health as its dispatcher and the attempts under way share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::health::{Health, Hold, Tried};
use crate::core::time::UnixMillis;
use crate::store::{HealthRecord, WebhookHealth};

/// Shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    health: Health,
    revision: i64,
    generation: i64,
    asks: i64,
    /// Whether the row has been read.
    is_read: bool,
}

impl Condition {
    pub(super) fn health(&self) -> Health {
        self.known().health.clone()
    }

    /// Takes over what the row says and this process cannot know: what was before its start, and what an operator has
    /// done since. Answers whether there was any of it.
    pub(super) fn adopt(&self, row: &WebhookHealth) -> bool {
        let mut known = self.known();
        let is_new = !known.is_read || known.generation != row.generation;
        let is_asked = known.asks != row.asks;
        if is_new {
            known.health = row.health.clone();
            known.revision = row.revision;
            known.generation = row.generation;
        } else if is_asked && let Health::Held(hold) = &mut known.health {
            // Somebody wants to see it tried, and with what was asked for just now.
            *hold = Hold {
                probe_at: None,
                event_id: None,
                ..hold.clone()
            };
        }
        known.asks = row.asks;
        known.is_read = true;
        is_new || is_asked
    }

    /// Takes an attempt into account; answers with what is to be recorded of it.
    pub(super) fn after(
        &self,
        tried: &Tried<'_>,
        retry: &[Duration],
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Option<HealthRecord> {
        let mut known = self.known();
        let before = known.health.clone();
        let health = before.clone().after(tried, retry, max_in_flight, now);
        if health == before {
            return None;
        }
        known.health = health.clone();
        known.revision += 1;
        Some(HealthRecord {
            health,
            revision: known.revision,
            generation: known.generation,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
