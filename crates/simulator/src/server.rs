//! A server that serves until it is dropped.

use std::future::Future;
use std::io;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Debug)]
pub(super) struct Server {
    stop: DropGuard,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves in a background task. `serving` must end soon after `stop`.
    pub(super) fn spawn(
        stop: CancellationToken,
        serving: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> Self {
        Self {
            stop: stop.drop_guard(),
            task: tokio::spawn(serving),
        }
    }

    /// Stops, and waits until all connections are closed.
    pub(super) async fn shutdown(self) {
        drop(self.stop);
        // It only fails when the server's task panicked, and then the server is down too.
        let _ = self.task.await;
    }
}
