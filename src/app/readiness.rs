//! The state of the loops: in sentences for `/readyz`, as words and numbers for metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::stranded::StrandedEvents;
use super::watchdog::Loops;
use crate::core::delivery::WebhookName;
use crate::dispatcher;
use crate::sockets::Sockets;
use crate::status::{Health, Problems};
use crate::store::Shortage;
use crate::telemetry::{GaugeValues, Problem};
use crate::tracker::poller;
use crate::upstream::Upstream;
use crate::upstream::gate::{Credentials, GateReasonKind};
use crate::writer::Writable;

/// The gauge of each webhook's dispatcher; a reload adds to it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(Arc<RwLock<Vec<WebhookGauge>>>);

type WebhookGauge = (WebhookName, Arc<dispatcher::Gauge>);

impl Gauges {
    pub(super) fn add(&self, name: WebhookName, gauge: Arc<dispatcher::Gauge>) {
        let mut all = self.0.write();
        all.push((name, gauge));
    }

    fn in_flight(&self) -> Vec<(WebhookName, usize)> {
        let all = self.0.read();
        all.iter()
            .map(|(name, gauge)| (name.clone(), gauge.in_flight.load(Ordering::Relaxed)))
            .collect()
    }
}

/// Where the state of the loops is read.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) loops: Loops,
    pub(super) upstream: watch::Receiver<Upstream>,
    pub(super) writable: watch::Receiver<Writable>,
    pub(super) attempts: Gauges,
    pub(super) stranded: StrandedEvents,
    pub(super) sockets: Sockets,
}

impl Sources {
    /// The state of the loops for the status server and the service manager.
    pub(super) fn health(self, gauge: Arc<poller::Gauge>) -> Health {
        let for_metrics = self.clone();
        Health::new(move || self.problems(), gauge).with_gauges(move || for_metrics.gauge_values())
    }

    fn upstream(&self) -> Upstream {
        self.upstream.borrow().clone()
    }

    /// The present problems: what makes the daemon unready, and what is merely degraded (docs/operating.md, "What
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
        let stalled = self.loops.stalled().into_iter();
        unready.extend(stalled.map(|name| format!("{name} has stalled")));
        let mut degraded = upstream.gate().degraded();
        degraded.extend(upstream.unmatched());
        degraded.extend(self.stranded.problems());
        let short = self.sockets.shortage();
        degraded.extend(short.map(|short| format!("connections cannot be opened: {short}")));
        Problems { unready, degraded }
    }

    fn gauge_values(&self) -> GaugeValues {
        let upstream = self.upstream();
        let gate = upstream.gate();
        let closed = gate.closed().map(|(_, reason)| reason.kind);
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
            (!self.loops.stalled().is_empty()).then_some(Problem::Stalled),
        ];
        GaugeValues {
            problems: found.into_iter().flatten().collect(),
            upstream_paused: closed.is_some(),
            webhooks: self.attempts.in_flight(),
            stranded: self.stranded.webhooks(),
            events_stranded: self.stranded.events(),
        }
    }
}
