//! `jobtrackd run`: the daemon.

use anyhow::Context as _;

use crate::clock::Clock;
use crate::config::{Settings, Sources, load};
use crate::lifecycle::Signals;
use crate::store::sqlite_version;
use crate::telemetry::Exporter;
use crate::{app, logging};

/// Runs until a signal says otherwise.
pub(super) fn run(sources: &Sources) -> anyhow::Result<()> {
    let settings = load(sources)?;
    let verbosity = logging::start(&settings.log)?;
    warn_of(&settings);
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
        app::run(settings, signals, verbosity, exporter, reread).await
    });
    // Nobody waits for a name that is still being looked up.
    runtime.shutdown_background();
    done
}

fn warn_of(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!(warning, "the configuration can be used, but is unwise");
    }
}
