//! Waiting in real time for what another process does, for a bounded time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long anything may take that takes milliseconds on an idle computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is checked whether it has happened.
const TICK: Duration = Duration::from_millis(2);

/// Waits for at most `patience` until `find` returns something; `None` when it did not.
pub(crate) async fn found<T>(
    patience: Duration,
    mut find: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let finding = async {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = find().await {
                return found;
            }
        }
    };
    timeout(patience, finding).await.ok()
}

/// Waits until `happened`; it must within [`PATIENCE`].
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let seen = found(PATIENCE, async || happened().then_some(())).await;
    assert!(seen.is_some(), "in {PATIENCE:?} it did not happen: {what}");
}
