//! How the loops are: in sentences for people, as words and numbers for metrics.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use tokio::time::Instant;

use super::lookout::Stranding;
use super::vitals::Vitals;
use crate::core::delivery::WebhookName;
use crate::dispatcher;
use crate::sockets::Sockets;
use crate::status::{Health, Problems};
use crate::store::Shortage;
use crate::telemetry::{Problem, Signs};
use crate::tracker::poller;
use crate::tracker::recorder::Writable;
use crate::upstream::Upstream;
use crate::upstream::gate::{Credentials, GateReasonKind, GateState};

/// The attempts under way of each webhook; a reload adds to it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(Arc<RwLock<Vec<Sending>>>);

type Sending = (WebhookName, Arc<dispatcher::Gauge>);

impl Gauges {
    pub(super) fn add(&self, name: WebhookName, gauge: Arc<dispatcher::Gauge>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.push((name, gauge));
    }

    fn in_flight(&self) -> Vec<(WebhookName, usize)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(name, gauge)| (name.clone(), gauge.in_flight.load(Ordering::Relaxed)))
            .collect()
    }
}

/// Those that are asked.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) vitals: Vitals,
    pub(super) upstream: Arc<RwLock<Upstream>>,
    pub(super) writable: watch::Receiver<Writable>,
    pub(super) attempts: Gauges,
    pub(super) stranding: Stranding,
    pub(super) sockets: Sockets,
}

impl Watched {
    /// What the status server and the service manager are told.
    pub(super) fn health(self, gauge: Arc<poller::Gauge>) -> Health {
        let for_metrics = self.clone();
        Health::new(move || self.problems(), gauge).with_signs(move || for_metrics.signs())
    }

    fn upstream(&self) -> Upstream {
        let upstream = self.upstream.read();
        upstream.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong just now: what makes the daemon unready, and what is merely degraded (docs/operating.md, "What
    /// /readyz says").
    fn problems(&self) -> Problems {
        let upstream = self.upstream();
        let mut unready: Vec<String> = Vec::new();
        let cannot_write = match *self.writable.borrow() {
            Writable::Yes => None,
            Writable::DiskFull => Some("the disk is full".to_owned()),
            Writable::Locked => Some("another program holds its lock".to_owned()),
            Writable::Short(shortage) => Some(shortage.to_string()),
        };
        unready.extend(cannot_write.map(|why| format!("the database cannot be written: {why}")));
        if let Credentials::Refused { since, detail } = upstream.gate().credentials() {
            unready.push(format!(
                "the upstream refuses our credentials since {since}: {detail}"
            ));
        }
        let stalled = self.vitals.stalled().into_iter();
        unready.extend(stalled.map(|name| format!("{name} has stalled")));
        let mut degraded = upstream.gate().degraded();
        degraded.extend(self.stranding.problems());
        let short = self.sockets.shortage();
        degraded.extend(short.map(|short| format!("connections cannot be opened: {short}")));
        Problems { unready, degraded }
    }

    fn signs(&self) -> Signs {
        let upstream = self.upstream();
        let gate = upstream.gate();
        let closed = match gate.state(Instant::now()) {
            GateState::Closed { reason, .. } => Some(reason.kind),
            GateState::Open => None,
        };
        let written = match *self.writable.borrow() {
            Writable::Yes => None,
            Writable::DiskFull => Some(Problem::DiskFull),
            Writable::Locked => Some(Problem::DatabaseLocked),
            Writable::Short(Shortage::Quota | Shortage::FileSize) => Some(Problem::DiskFull),
            Writable::Short(_) => Some(Problem::OutOfResources),
        };
        let short = self.sockets.shortage().map(|_| Problem::OutOfResources);
        let tokenless = closed == Some(GateReasonKind::TokenUnavailable);
        let refused = matches!(gate.credentials(), Credentials::Refused { .. });
        let found = [
            written.or(short),
            gate.is_throttled().then_some(Problem::Throttled),
            tokenless.then_some(Problem::TokenUnavailable),
            refused.then_some(Problem::CredentialsRefused),
            gate.is_down().then_some(Problem::NoUsableAnswers),
            (!self.vitals.stalled().is_empty()).then_some(Problem::Stalled),
        ];
        Signs {
            problems: found.into_iter().flatten().collect(),
            upstream_paused: closed.is_some(),
            webhooks: self.attempts.in_flight(),
            stranded: self.stranding.webhooks(),
            events_stranded: self.stranding.events(),
        }
    }
}
