//! The daemon as a service: signals in, notifications out.

use anyhow::bail;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Daemon, ReloadRefused, Surroundings};
use crate::config::Settings;
use crate::lifecycle::{Request, Signals};
use crate::logging::Verbosity;

/// Runs the daemon until it is told to stop. `reread` reads the configuration anew on SIGHUP.
///
/// # Errors
/// When it cannot start, a part of it fails, or a second signal cuts the stopping short.
pub async fn run(
    settings: Settings,
    mut signals: Signals,
    verbosity: Verbosity,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let mut asked = Asked::default();
    let stop = asked.stop.clone();
    let starting = Daemon::start(settings, Surroundings::default(), &stop);
    tokio::pin!(starting);
    let mut daemon = loop {
        tokio::select! {
            daemon = &mut starting => break daemon?,
            request = signals.next() => asked.note(request),
        }
        if stop.is_cancelled() {
            return Ok(());
        }
    };
    notify(&[sd_notify::NotifyState::Ready]);
    info!(
        status = daemon.status_address().map(|at| at.to_string()),
        "jobtrackd follows jobs"
    );
    let result = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if std::mem::take(&mut asked.reload) {
            let reloaded = reload(&mut daemon, &mut asked, &mut signals, &verbosity, &reread);
            if let Err(error) = reloaded.await {
                break Err(error);
            }
            continue;
        }
        tokio::select! {
            error = daemon.failed() => break Err(error),
            request = signals.next() => asked.note(request),
        }
    };
    if let Err(error) = &result {
        error!(error = format!("{error:#}"), "the daemon cannot go on");
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    info!("stopping");
    stop.cancel();
    let hurry = asked.hurry.clone();
    let stopped = asked.while_in(&mut signals, daemon.stop(&hurry)).await;
    result.and(stopped)?;
    if hurry.is_cancelled() {
        bail!(
            "a second signal ended it at once; what was in flight is done again after the next start"
        );
    }
    Ok(())
}

/// What the signals so far ask for.
#[derive(Debug, Default)]
struct Asked {
    /// The first signal to stop.
    stop: CancellationToken,
    /// The second one.
    hurry: CancellationToken,
    reload: bool,
}

impl Asked {
    fn note(&mut self, request: Request) {
        match request {
            Request::Reload => self.reload = true,
            Request::Stop if self.stop.is_cancelled() => self.hurry.cancel(),
            Request::Stop => self.stop.cancel(),
        }
    }

    /// Awaits `work`, and notes what is asked for meanwhile.
    async fn while_in<T>(&mut self, signals: &mut Signals, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return output,
                request = signals.next() => self.note(request),
            }
        }
    }
}

async fn reload(
    daemon: &mut Daemon,
    asked: &mut Asked,
    signals: &mut Signals,
    verbosity: &Verbosity,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let refused = |error: anyhow::Error| {
        error!(
            error = format!("{error:#}"),
            "the configuration was not taken; the old one stays"
        );
    };
    let new = match reread() {
        Ok(new) => new,
        Err(error) => {
            refused(error);
            return Ok(());
        }
    };
    info!("taking the new configuration; what is in flight is finished first");
    let level = new.log.level.clone();
    let (stop, hurry) = (asked.stop.clone(), asked.hurry.clone());
    match asked
        .while_in(signals, daemon.reload(new, &stop, &hurry))
        .await
    {
        Ok(()) if stop.is_cancelled() => {}
        Ok(()) => {
            verbosity.set(&level)?;
            info!("the configuration was read again");
        }
        Err(error) if error.is::<ReloadRefused>() => refused(error),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager was not told");
    }
}
