//! The requests of one webhook that are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Numbers that others may read at any time.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Requests under way.
    pub in_flight: AtomicUsize,
}

/// One of the requests that may be under way; free again when it is dropped.
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
