//! Waiting in real time for what another process does, for a bounded time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long anything may take that takes milliseconds on an idle computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has happened.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for at most `patience` until `look` finds something; `None` when it did not.
pub(crate) async fn found<T>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let looking = async {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(patience, looking).await.ok()
}

/// Waits until `happened`; it must within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let seen = found(PATIENCE, async || happened().then_some(())).await;
    assert!(seen.is_some(), "in {PATIENCE:?} it did not happen: {what}");
}
