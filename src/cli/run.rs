//! `jobtrackd run`: the daemon.

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::privilege::leave_to_owner;
use super::probe;
use crate::clock::Clock;
use crate::config::{Settings, Sources, load};
use crate::lifecycle::Signals;
use crate::logging::Verbosity;
use crate::store::sqlite::sqlite_version;
use crate::telemetry::Exporter;
use crate::{app, logging};

/// Runs until a signal stops it.
pub(super) fn run(sources: &Sources) -> anyhow::Result<()> {
    let settings = load(sources)?;
    let verbosity = logging::start(&settings.log)?;
    let done = follow(sources, settings, &verbosity);
    verbosity.flush();
    done
}

fn follow(sources: &Sources, settings: Settings, verbosity: &Verbosity) -> anyhow::Result<()> {
    warn_of(&settings);
    raise_open_files();
    leave_to_owner(&settings.database.path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the program cannot start its runtime")?;
    let done = runtime.block_on(async {
        let signals = Signals::listen().context("the program cannot listen to signals")?;
        let file = sources.file.clone();
        let reread = move || -> anyhow::Result<Settings> {
            let settings = load(&Sources::from_process(file.clone()))?;
            warn_of(&settings);
            Ok(settings)
        };
        let exporter = Exporter::install(Clock::system().now(), sqlite_version().await?)?;
        let host = probe::of_a_running_daemon(settings.database.clone());
        app::run(settings, signals, verbosity.clone(), exporter, host, reread).await
    });
    // Does not wait for a lookup of a name that is still running.
    runtime.shutdown_background();
    done
}

/// Raises the soft limit of open files to the hard one: 1024 is a default for programs that use `select`, and fewer than
/// all connections may need.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |most| most.to_string());
    let (before, after) = (shown(current), shown(maximum));
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => info!(before, after, "the limit of open files was raised"),
        Err(error) => warn!(%error, before, "the limit of open files cannot be raised"),
    }
}

fn warn_of(settings: &Settings) {
    for warning in &settings.warnings {
        warn!(warning, "the configuration can be used, but is unwise");
    }
}
