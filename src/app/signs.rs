//! How the loops are, as words and numbers for metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::Instant;

use super::vitals::Vitals;
use crate::core::delivery::WebhookName;
use crate::dispatcher;
use crate::telemetry::{Problem, Signs};
use crate::tracker::recorder::Writable;
use crate::upstream::Upstream;
use crate::upstream::gate::{Credentials, GateReasonKind, GateState};

/// Those that are asked.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) vitals: Vitals,
    pub(super) upstream: Upstream,
    pub(super) writable: watch::Receiver<Writable>,
    /// The attempts under way of each webhook.
    pub(super) attempts: Vec<(WebhookName, Arc<dispatcher::Gauge>)>,
}

impl Watched {
    pub(super) fn signs(&self) -> Signs {
        let gate = self.upstream.gate();
        let closed = match gate.state(Instant::now()) {
            GateState::Closed { reason, .. } => Some(reason.kind),
            GateState::Open => None,
        };
        let written = match *self.writable.borrow() {
            Writable::Yes => None,
            Writable::DiskFull => Some(Problem::DiskFull),
            Writable::Locked => Some(Problem::DatabaseLocked),
        };
        let tokenless = closed == Some(GateReasonKind::TokenUnavailable);
        let refused = matches!(gate.credentials(), Credentials::Refused { .. });
        let found = [
            written,
            gate.is_throttled().then_some(Problem::Throttled),
            tokenless.then_some(Problem::TokenUnavailable),
            refused.then_some(Problem::CredentialsRefused),
            gate.is_down().then_some(Problem::NoUsableAnswers),
            (!self.vitals.stalled().is_empty()).then_some(Problem::Stalled),
        ];
        let in_flight = |gauge: &dispatcher::Gauge| gauge.in_flight.load(Ordering::Relaxed);
        let webhooks = self.attempts.iter();
        Signs {
            problems: found.into_iter().flatten().collect(),
            upstream_paused: closed.is_some(),
            webhooks: webhooks
                .map(|(name, gauge)| (name.clone(), in_flight(gauge)))
                .collect(),
        }
    }
}
