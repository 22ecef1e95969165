//! Real time: pauses that a scenario makes on purpose, and waiting for what another process does.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{sleep, timeout};

/// How long anything may take that takes seconds on a busy computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Waits until `happened`; an error names it when it has not within `patience`.
pub(crate) async fn until(
    what: &str,
    patience: Duration,
    mut happened: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let waiting = async {
        while !happened().await? {
            pause(5).await;
        }
        Ok(())
    };
    match timeout(patience, waiting).await {
        Ok(done) => done,
        Err(_) => bail!("in {patience:?} it did not happen: {what}"),
    }
}
