//! The webhook's health, shared by its dispatcher and the attempts in flight.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::core::delivery::AfterAttempt;
use crate::core::health::{Health, HealthEvidence, Hold};
use crate::core::time::UnixMillis;
use crate::store::WebhookHealth;

/// Shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedHealth(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    health: Health,
    /// Pauses of zero length that the webhook requested in a row.
    empty_pauses: u32,
    revision: i64,
    generation: i64,
    requests: i64,
    /// Whether the row has been read.
    is_read: bool,
}

impl SharedHealth {
    pub(super) fn health(&self) -> Health {
        self.state().health.clone()
    }

    pub(super) fn empty_pauses(&self) -> u32 {
        self.state().empty_pauses
    }

    /// Takes over from the row what this process does not know: the state before its start, and what an operator has done
    /// since. Returns whether there was anything.
    pub(super) fn adopt(&self, row: &WebhookHealth, now: UnixMillis) -> bool {
        let mut state = self.state();
        let is_new = !state.is_read || state.generation != row.generation;
        let is_requested = state.requests != row.requests;
        if is_new {
            state.health = row.health.clone();
            state.empty_pauses = row.empty_pauses;
            state.revision = row.revision;
            state.generation = row.generation;
        } else if is_requested && let Health::Held(hold) = &mut state.health {
            // An operator's request makes the next probe due at once.
            *hold = Hold {
                probe_at: None,
                ..hold.clone()
            };
        }
        let health = std::mem::take(&mut state.health);
        state.health = health.clamped(now);
        state.requests = row.requests;
        state.is_read = true;
        is_new || is_requested
    }

    /// Updates the health after an attempt; returns what is to be recorded, if it has changed.
    pub(super) fn after(
        &self,
        attempt: &HealthEvidence<'_>,
        is_empty_pause: bool,
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Option<WebhookHealth> {
        let mut state = self.state();
        let health = state.health.clone().after(attempt, max_in_flight, now);
        let empty_pauses = match attempt.after {
            AfterAttempt::Delivered => 0,
            _ => state.empty_pauses.saturating_add(u32::from(is_empty_pause)),
        };
        if (&health, empty_pauses) == (&state.health, state.empty_pauses) {
            return None;
        }
        state.health = health.clone();
        state.empty_pauses = empty_pauses;
        state.revision += 1;
        Some(WebhookHealth {
            health,
            empty_pauses,
            revision: state.revision,
            generation: state.generation,
            ..WebhookHealth::default()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}
