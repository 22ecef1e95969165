//! Counts the requests of one webhook that are in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Numbers for the status server and for metrics.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Requests in flight.
    pub in_flight: AtomicUsize,
}

/// One request in flight; dropping it ends that and notifies the dispatcher.
#[derive(Debug)]
pub(super) struct Permit {
    gauge: Arc<Gauge>,
    over: Arc<Notify>,
}

impl Permit {
    pub(super) fn taken(gauge: Arc<Gauge>, over: Arc<Notify>) -> Self {
        gauge.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { gauge, over }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.over.notify_one();
    }
}
