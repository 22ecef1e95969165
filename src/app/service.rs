//! The daemon as a service: signals in, notifications out.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Daemon, Environment};
use crate::config::Settings;
use crate::core::time::millis;
use crate::lifecycle::{MORE_TIME, Request, ServiceManager, Signals};
use crate::logging::Verbosity;
use crate::status::HostProbe;
use crate::telemetry::{self, Exporter};

/// While the daemon stops, what the service manager has not taken is sent again so often.
const RESEND: Duration = Duration::from_secs(1);

/// Runs the daemon until a signal stops it. `reread` reads the configuration again on SIGHUP.
///
/// # Errors
/// When it cannot start, a part of it fails, or a second signal cuts the stop short.
pub async fn run(
    settings: Settings,
    mut signals: Signals,
    verbosity: Verbosity,
    exporter: Exporter,
    host: HostProbe,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let mut requests = Requests::default();
    let stop = requests.stop.clone();
    let manager = ServiceManager::default();
    let environment = Environment {
        manager: manager.clone(),
        exporter: Some(exporter.clone()),
        host: Some(host),
        ..Environment::default()
    };
    let upkeep = tokio::spawn(exporter.keep_up());
    let began = Instant::now();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %settings.database.path.display(),
        "starting"
    );
    let starting = Box::pin(Daemon::start(settings, environment, &stop));
    let starting = with_time(&manager, starting);
    tokio::pin!(starting);
    let mut daemon = loop {
        tokio::select! {
            daemon = &mut starting => break daemon?,
            request = signals.next() => requests.note(request),
        }
        if stop.is_cancelled() {
            return Ok(());
        }
    };
    manager.ready();
    let watchdog = tokio::spawn(daemon.watchdog());
    info!(
        status = daemon.status_address().map(|at| at.to_string()),
        jobs = daemon.engine.adopted,
        webhooks = daemon.settings.webhooks.len(),
        duration_ms = millis(began.elapsed()),
        "jobtrackd follows jobs"
    );
    let result = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        if std::mem::take(&mut requests.reload) {
            manager.reloading();
            if let Err(error) = reload(&mut daemon, &verbosity, &reread) {
                break Err(error);
            }
            manager.ready();
            continue;
        }
        tokio::select! {
            error = daemon.failed() => break Err(daemon.reason_of(error).await),
            request = signals.next() => requests.note(request),
        }
    };
    if let Err(error) = &result {
        error!(error = format!("{error:#}"), "the daemon cannot go on");
    }
    watchdog.abort();
    upkeep.abort();
    manager.stopping();
    manager.status("Finishing what is in flight".to_owned());
    let stopped = tokio::select! {
        stopped = end(daemon, requests, signals) => stopped,
        never = resend(&manager) => match never {},
    };
    result.and(stopped)
}

/// Sends the manager again and again what it has not taken.
async fn resend(manager: &ServiceManager) -> Infallible {
    loop {
        tokio::time::sleep(RESEND).await;
        manager.resend();
    }
}

async fn end(daemon: Daemon, mut requests: Requests, mut signals: Signals) -> anyhow::Result<()> {
    let began = Instant::now();
    info!("stopping");
    requests.stop.cancel();
    let hurry = requests.hurry.clone();
    let stopped = requests.during(&mut signals, daemon.stop(&hurry)).await;
    info!(
        duration_ms = millis(began.elapsed()),
        cut_short = hurry.is_cancelled(),
        "stopped"
    );
    stopped?;
    if hurry.is_cancelled() {
        bail!(
            "a second signal ended it at once; what was in flight is done again after the next start"
        );
    }
    Ok(())
}

/// What the signals so far request.
#[derive(Debug, Default)]
struct Requests {
    /// The first signal to stop.
    stop: CancellationToken,
    /// The second one.
    hurry: CancellationToken,
    reload: bool,
}

impl Requests {
    fn note(&mut self, request: Request) {
        match request {
            Request::Reload => self.reload = true,
            Request::Stop if self.stop.is_cancelled() => self.hurry.cancel(),
            Request::Stop => self.stop.cancel(),
        }
    }

    /// Awaits `work` and notes the signals meanwhile.
    async fn during<T>(&mut self, signals: &mut Signals, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return output,
                request = signals.next() => self.note(request),
            }
        }
    }
}

fn reload(
    daemon: &mut Daemon,
    verbosity: &Verbosity,
    reread: impl Fn() -> anyhow::Result<Settings>,
) -> anyhow::Result<()> {
    let accepted = reread().and_then(|new| {
        let level = new.log.level.clone();
        daemon.reload(new)?;
        Ok(level)
    });
    match accepted {
        Ok(level) => {
            verbosity.set(&level)?;
            daemon.set_reload_error(None);
            telemetry::reloaded(true);
            info!("the configuration was read again");
        }
        Err(error) => refuse(daemon, &error),
    }
    Ok(())
}

fn refuse(daemon: &Daemon, error: &anyhow::Error) {
    let error = format!("{error:#}");
    error!(
        error,
        "the configuration was refused; the old one stays in use"
    );
    telemetry::reloaded(false);
    daemon.set_reload_error(Some(error));
}

/// Awaits `work` and keeps extending the service manager's start time-out: after a kill it would only start over.
async fn with_time<T>(manager: &ServiceManager, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut tick = tokio::time::interval(MORE_TIME / 3);
    loop {
        tokio::select! {
            output = &mut work => return output,
            _ = tick.tick() => manager.needs_more_time(),
        }
    }
}
