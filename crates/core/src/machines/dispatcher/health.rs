//! What is known of the webhook's health: its row, and what the attempts since then have changed.

use crate::delivery::AfterAttempt;
use crate::health::{Health, HealthEvidence, Hold};
use crate::rows::WebhookHealth;
use crate::time::UnixMillis;

#[derive(Debug, Default)]
pub(super) struct KnownHealth {
    /// As it was read last.
    row: WebhookHealth,
    stopped: Stopped,
    health: Health,
    /// Pauses of zero length that the webhook requested in a row.
    empty_pauses: u32,
    revision: i64,
    /// Whether the row has been read.
    is_read: bool,
}

/// Whether an attempt was recorded that pauses or disables the webhook, which the row as read last may not show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stopped {
    #[default]
    No,
    Recorded,
    /// And the row is being read since.
    Read,
}

impl KnownHealth {
    /// Whether anything may be sent, be it probes only.
    ///
    /// # Errors
    /// Until when nothing may be sent, if that is known: the webhook is disabled or paused, or may be.
    pub(super) fn permits(&self, now: UnixMillis) -> Result<(), Option<UnixMillis>> {
        if self.row.disabled.is_some() || self.stopped != Stopped::No {
            return Err(None);
        }
        match self.row.paused_until {
            Some(until) if until > now => Err(Some(until)),
            _ => Ok(()),
        }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// The earliest time of the next probe of a hold; `None`: at once, or it is not held.
    pub(super) fn probe_at(&self) -> Option<UnixMillis> {
        self.health.hold().and_then(|hold| hold.probe_at)
    }

    pub(super) fn empty_pauses(&self) -> u32 {
        self.empty_pauses
    }

    /// An attempt was recorded that pauses or disables the webhook.
    pub(super) fn stop(&mut self) {
        self.stopped = Stopped::Recorded;
    }

    /// The row is read from now on.
    pub(super) fn begin_read(&mut self) {
        if self.stopped == Stopped::Recorded {
            self.stopped = Stopped::Read;
        }
    }

    /// Takes over the row, and into the health what this process does not know: the state before its start, and what an
    /// operator has done since. Returns whether an operator has done anything.
    pub(super) fn adopt(&mut self, row: &WebhookHealth, now: UnixMillis) -> bool {
        if self.stopped == Stopped::Read {
            self.stopped = Stopped::No;
        }
        let is_disabled = row.disabled != self.row.disabled;
        let is_new = !self.is_read || self.row.generation != row.generation;
        let is_requested = self.row.requests != row.requests;
        if is_new {
            self.health = row.health.clone();
            self.empty_pauses = row.empty_pauses;
            self.revision = row.revision;
        } else if is_requested && let Health::Held(hold) = &mut self.health {
            // An operator's request makes the next probe due at once.
            *hold = Hold {
                probe_at: None,
                ..hold.clone()
            };
        }
        self.health = std::mem::take(&mut self.health).clamped(now);
        self.is_read = true;
        self.row = row.clone();
        is_new || is_requested || is_disabled
    }

    /// Updates the health after an attempt; returns what is to be recorded, if it has changed.
    pub(super) fn after(
        &mut self,
        attempt: &HealthEvidence<'_>,
        is_empty_pause: bool,
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Option<WebhookHealth> {
        let health = self.health.clone().after(attempt, max_in_flight, now);
        let empty_pauses = match attempt.after {
            AfterAttempt::Delivered => 0,
            _ => self.empty_pauses.saturating_add(u32::from(is_empty_pause)),
        };
        if (&health, empty_pauses) == (&self.health, self.empty_pauses) {
            return None;
        }
        self.health = health.clone();
        self.empty_pauses = empty_pauses;
        self.revision += 1;
        Some(WebhookHealth {
            health,
            empty_pauses,
            revision: self.revision,
            generation: self.row.generation,
            ..WebhookHealth::default()
        })
    }
}
