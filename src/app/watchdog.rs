//! The watchdog: checks that all loops advance, and notifies the service manager.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tracing::{error, info};

use super::status_line;
use crate::heartbeat::Heartbeat;
use crate::lifecycle::ServiceManager;
use crate::status::Health;
use crate::store::{Deliveries as _, Store};
use crate::telemetry;

/// How often a beat is requested of the loops and the status line is updated.
const INTERVAL: Duration = Duration::from_secs(5);

/// The names and heartbeats of the loops. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Loops {
    loops: Arc<RwLock<Vec<(String, Heartbeat)>>>,
}

impl Loops {
    /// From now on these loops are checked.
    pub(super) fn watch(&self, loops: Vec<(String, Heartbeat)>) {
        *self.loops.write() = loops;
    }

    /// The names of the loops that have stalled.
    pub(super) fn stalled(&self) -> Vec<String> {
        let loops = self.loops.read();
        let stalled = loops.iter().filter(|(_, heartbeat)| heartbeat.is_stalled());
        stalled.map(|(name, _)| name.clone()).collect()
    }

    fn request_beats(&self) {
        let loops = self.loops.read();
        for (_, heartbeat) in loops.iter() {
            heartbeat.request();
        }
    }
}

/// Requests beats of the loops, notifies the service manager's watchdog while all of them advance, and updates the status
/// line.
#[derive(Debug)]
pub(super) struct Watchdog {
    pub(super) loops: Loops,
    pub(super) health: Arc<Health>,
    pub(super) store: Store,
    pub(super) manager: ServiceManager,
    /// The error of the last reload, if it was refused.
    pub(super) reload_error: Arc<RwLock<Option<String>>>,
}

impl Watchdog {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let mut stalled = Vec::new();
        let watchdog = self.manager.watchdog();
        let mut beat = tokio::time::interval(interval_for(watchdog));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if self.all_advance(&mut stalled) && watchdog.is_some() {
                self.manager.alive();
            }
            self.manager.status(self.line().await);
        }
    }

    /// Whether all loops have answered the requests of the last time; logs changes and requests new beats.
    fn all_advance(&self, stalled: &mut Vec<String>) -> bool {
        let now = self.loops.stalled();
        for name in now.iter().filter(|name| !stalled.contains(name)) {
            telemetry::stalled(name);
            error!(
                part = name,
                "a part has stalled; the watchdog is not fed until it advances"
            );
        }
        for name in stalled.iter().filter(|name| !now.contains(name)) {
            info!(part = name, "a part that had stalled advances again");
        }
        *stalled = now;
        self.loops.request_beats();
        stalled.is_empty()
    }

    async fn line(&self) -> String {
        let report = self.health.report();
        // Left out if the database cannot be read; the report shows why.
        let pending = self
            .store
            .pending_deliveries(status_line::COUNTED)
            .await
            .ok();
        let error = self.reload_error.read();
        status_line::status(&report, pending, error.as_deref())
    }
}

/// The interval of checks: several within the time that the service manager allows.
fn interval_for(watchdog: Option<Duration>) -> Duration {
    watchdog
        .map_or(INTERVAL, |every| INTERVAL.min(every / 4))
        .max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::STALLED_AFTER;

    #[test]
    fn the_interval_fits_the_time_that_the_service_manager_allows() {
        assert_eq!(interval_for(None), INTERVAL);
        assert_eq!(interval_for(Some(Duration::from_secs(30))), INTERVAL);
        assert_eq!(
            interval_for(Some(Duration::from_secs(2))),
            Duration::from_millis(500)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_loop_that_does_not_answer_is_named_until_it_does() {
        let (loops, quick, stuck) = (Loops::default(), Heartbeat::default(), Heartbeat::default());
        let named = |name: &str, heartbeat: &Heartbeat| (name.to_owned(), heartbeat.clone());
        loops.watch(vec![named("intake", &quick), named("the writer", &stuck)]);
        loops.request_beats();
        quick.beat();
        tokio::time::sleep(STALLED_AFTER).await;
        assert_eq!(loops.stalled(), Vec::<String>::new());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(loops.stalled(), ["the writer"]);
        stuck.beat();
        assert_eq!(loops.stalled(), Vec::<String>::new());
    }
}
