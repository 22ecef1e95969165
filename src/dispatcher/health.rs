//! The webhook's health as its dispatcher and the attempts under way share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::delivery::AfterAttempt;
use crate::core::health::{Health, Hold, Tried};
use crate::core::time::UnixMillis;
use crate::store::{HealthUpdate, WebhookHealth};

/// Shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedHealth(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    health: Health,
    /// Rests of no length in a row.
    rests: u32,
    revision: i64,
    generation: i64,
    asks: i64,
    /// Whether the row has been read.
    is_read: bool,
}

impl SharedHealth {
    pub(super) fn health(&self) -> Health {
        self.known().health.clone()
    }

    pub(super) fn rests(&self) -> u32 {
        self.known().rests
    }

    /// Takes over what the row says and this process cannot know: what was before its start, and what an operator has
    /// done since. Answers whether there was any of it.
    pub(super) fn adopt(&self, row: &WebhookHealth, now: UnixMillis) -> bool {
        let mut known = self.known();
        let is_new = !known.is_read || known.generation != row.generation;
        let is_asked = known.asks != row.asks;
        if is_new {
            known.health = row.health.clone();
            known.rests = row.rests;
            known.revision = row.revision;
            known.generation = row.generation;
        } else if is_asked && let Health::Held(hold) = &mut known.health {
            // Somebody wants to see it tried.
            *hold = Hold {
                probe_at: None,
                ..hold.clone()
            };
        }
        let health = std::mem::take(&mut known.health);
        known.health = health.clamped(now);
        known.asks = row.asks;
        known.is_read = true;
        is_new || is_asked
    }

    /// Takes an attempt into account; answers with what is to be recorded of it.
    pub(super) fn after(
        &self,
        tried: &Tried<'_>,
        is_empty_rest: bool,
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Option<HealthUpdate> {
        let mut known = self.known();
        let health = known.health.clone().after(tried, max_in_flight, now);
        let rests = match tried.after {
            AfterAttempt::Delivered => 0,
            _ => known.rests.saturating_add(u32::from(is_empty_rest)),
        };
        if (&health, rests) == (&known.health, known.rests) {
            return None;
        }
        known.health = health.clone();
        known.rests = rests;
        known.revision += 1;
        Some(HealthUpdate {
            health,
            rests,
            revision: known.revision,
            generation: known.generation,
        })
    }

    fn known(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
