//! The daemon as a service: signals in, notifications out.

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Daemon, ReloadRefused, Surroundings};
use crate::config::Settings;
use crate::lifecycle::{Request, Signals};

/// Runs the daemon until it is told to stop. `reread` reads the configuration anew on SIGHUP.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(
    settings: Settings,
    mut signals: Signals,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let early = CancellationToken::new();
    let starting = Daemon::start(settings, Surroundings::default(), &early);
    tokio::pin!(starting);
    let mut daemon = loop {
        tokio::select! {
            daemon = &mut starting => break daemon?,
            request = signals.next() => {
                if request == Request::Stop {
                    early.cancel();
                    return Ok(());
                }
            }
        }
    };
    notify(&[sd_notify::NotifyState::Ready]);
    info!(
        status = daemon.status_address().map(|at| at.to_string()),
        "jobtrackd follows jobs"
    );
    let result = loop {
        tokio::select! {
            error = daemon.failed() => break Err(error),
            request = signals.next() => match request {
                Request::Stop => break Ok(()),
                Request::Reload => if let Err(error) = reload(&mut daemon, &reread).await {
                    break Err(error);
                },
            },
        }
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    info!("stopping");
    let hurry = CancellationToken::new();
    let stopping = daemon.stop(&hurry);
    tokio::pin!(stopping);
    let stopped = loop {
        tokio::select! {
            stopped = &mut stopping => break stopped,
            request = signals.next() => if request == Request::Stop { hurry.cancel() },
        }
    };
    result.and(stopped)
}

async fn reload(
    daemon: &mut Daemon,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let refused = |error: anyhow::Error| {
        error!(
            error = format!("{error:#}"),
            "the configuration was not taken; the old one stays"
        );
    };
    match reread() {
        Err(error) => refused(error),
        Ok(new) => match daemon.reload(new).await {
            Ok(()) => info!("the configuration was read again"),
            Err(error) if error.is::<ReloadRefused>() => refused(error),
            Err(error) => return Err(error),
        },
    }
    Ok(())
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager was not told");
    }
}
