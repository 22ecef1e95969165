//! Whether all loops advance, and what the service manager is told of it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::{error, info};

use super::line;
use crate::heartbeat::Heartbeat;
use crate::lifecycle::ServiceManager;
use crate::status::Health;
use crate::store::Store;
use crate::telemetry;

/// How often the loops are asked for a sign of life, and the status line is made anew.
const BEAT: Duration = Duration::from_secs(5);

/// The loops that have to advance, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Vitals {
    loops: Arc<RwLock<Vec<(String, Heartbeat)>>>,
}

impl Vitals {
    /// From now on it is these loops.
    pub(super) fn watch(&self, loops: Vec<(String, Heartbeat)>) {
        *self.loops.write().unwrap_or_else(PoisonError::into_inner) = loops;
    }

    /// The names of those that have stalled.
    pub(super) fn stalled(&self) -> Vec<String> {
        let loops = self.loops.read().unwrap_or_else(PoisonError::into_inner);
        let stalled = loops.iter().filter(|(_, heartbeat)| heartbeat.is_stalled());
        stalled.map(|(name, _)| name.clone()).collect()
    }

    fn ask(&self) {
        let loops = self.loops.read().unwrap_or_else(PoisonError::into_inner);
        for (_, heartbeat) in loops.iter() {
            heartbeat.request();
        }
    }
}

/// Asks the loops, feeds the watchdog while all of them answer, and keeps the status line true.
#[derive(Debug)]
pub(super) struct Attendant {
    pub(super) vitals: Vitals,
    pub(super) health: Arc<Health>,
    pub(super) store: Store,
    pub(super) manager: ServiceManager,
    /// Why the last reload was not taken, until one is.
    pub(super) refused: Arc<RwLock<Option<String>>>,
}

impl Attendant {
    /// Goes on until it is dropped.
    pub(super) async fn attend(self) {
        let mut stalled = Vec::new();
        let watchdog = self.manager.watchdog();
        let mut beat = tokio::time::interval(beat_of(watchdog));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if self.all_advance(&mut stalled) && watchdog.is_some() {
                self.manager.alive();
            }
            self.manager.status(self.line().await);
        }
    }

    /// Whether no loop has stalled, as of the questions asked before; then asks anew.
    fn all_advance(&self, stalled: &mut Vec<String>) -> bool {
        let now = self.vitals.stalled();
        for name in now.iter().filter(|name| !stalled.contains(name)) {
            telemetry::stalled(name);
            error!(
                part = name,
                "a part has stalled; the watchdog is not fed until it goes on"
            );
        }
        for name in stalled.iter().filter(|name| !now.contains(name)) {
            info!(part = name, "a part that had stalled goes on");
        }
        *stalled = now;
        self.vitals.ask();
        stalled.is_empty()
    }

    async fn line(&self) -> String {
        let report = self.health.report();
        // What cannot be read just now is left out; the problems say why.
        let pending = self.store.pending_deliveries(line::COUNTED).await.ok();
        let refused = self.refused.read().unwrap_or_else(PoisonError::into_inner);
        line::status(&report, pending, refused.as_deref())
    }
}

/// Well within the time the watchdog allows.
fn beat_of(watchdog: Option<Duration>) -> Duration {
    watchdog
        .map_or(BEAT, |every| BEAT.min(every / 4))
        .max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::STALLED_AFTER;

    #[test]
    fn the_beat_fits_the_watchdog() {
        assert_eq!(beat_of(None), BEAT);
        assert_eq!(beat_of(Some(Duration::from_secs(30))), BEAT);
        assert_eq!(
            beat_of(Some(Duration::from_secs(2))),
            Duration::from_millis(500)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_loop_that_does_not_answer_is_named_until_it_does() {
        let (vitals, quick, stuck) = (
            Vitals::default(),
            Heartbeat::default(),
            Heartbeat::default(),
        );
        let named = |name: &str, heartbeat: &Heartbeat| (name.to_owned(), heartbeat.clone());
        vitals.watch(vec![named("intake", &quick), named("the writer", &stuck)]);
        vitals.ask();
        quick.beat();
        tokio::time::sleep(STALLED_AFTER).await;
        assert_eq!(vitals.stalled(), Vec::<String>::new());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(vitals.stalled(), ["the writer"]);
        stuck.beat();
        assert_eq!(vitals.stalled(), Vec::<String>::new());
    }
}
