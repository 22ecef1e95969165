//! The life of the process: signals, stopping in order, tasks that must not end by themselves, and the service manager.

mod manager;

use std::future::Future;
use std::time::Duration;

use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use manager::{MORE_TIME, ServiceManager};

/// How long work in flight may take to finish after the first signal; then it is dropped and done again after the next
/// start.
pub const GRACE: Duration = Duration::from_secs(10);

/// What a signal asks the daemon to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals a daemon listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Handled, so that a write beyond `RLIMIT_FSIZE` fails instead of ending the process.
    _file_size: Signal,
}

impl Signals {
    /// Starts listening; from now on none of them ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
        }
    }
}

/// Long-running tasks with names. Any of them that ends before the stop is fatal.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.running.spawn(async move { (name, task.await) });
    }

    /// Resolves when a task ends by itself, with the reason.
    pub async fn first_end(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(ended) => ended_by_itself(ended),
            None => std::future::pending().await,
        }
    }

    /// Awaits all tasks after their stop was requested. Those that have not ended after [`GRACE`], or once `hurry` is
    /// cancelled, are dropped.
    ///
    /// # Errors
    /// The first error that a task ended with.
    pub async fn finish(mut self, hurry: &CancellationToken) -> anyhow::Result<()> {
        let mut result = Ok(());
        let waiting = async {
            while let Some(ended) = self.running.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((name, Err(error))) if result.is_ok() => {
                        result = Err(error.context(format!("{name} failed")));
                    }
                    Err(error) if result.is_ok() && !error.is_cancelled() => {
                        result = Err(error.into());
                    }
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(GRACE) => warn!("work in flight was dropped; it is done again after the next start"),
            () = hurry.cancelled() => warn!("stopping at once; what is in flight is done again after the next start"),
        }
        self.running.shutdown().await;
        result
    }
}

fn ended_by_itself(
    ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>,
) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow::anyhow!("{name} ended by itself"),
        Ok((name, Err(error))) => error.context(format!("{name} failed")),
        Err(error) => anyhow::Error::new(error).context("a task panicked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_by_itself_is_an_error_even_when_it_ends_well() {
        let mut tasks = Tasks::default();
        tasks.spawn("idler", std::future::pending());
        tasks.spawn("quitter", async { Ok(()) });
        assert_eq!(
            tasks.first_end().await.to_string(),
            "quitter ended by itself"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_finish_in_the_grace_is_dropped() {
        let mut tasks = Tasks::default();
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("late", async { Err(anyhow::anyhow!("disk on fire")) });
        let error = tasks.finish(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "late failed: disk on fire");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_ends_the_waiting_at_once() {
        let mut tasks = Tasks::default();
        tasks.spawn("stuck", std::future::pending());
        let (hurry, start) = (CancellationToken::new(), tokio::time::Instant::now());
        hurry.cancel();
        tasks.finish(&hurry).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
