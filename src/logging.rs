//! Logs: text on a terminal, journald under systemd, JSON elsewhere; always to standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogFormat, LogSettings};

/// The log of this process, once it was started.
#[derive(Debug, Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Changes what is logged from now on.
    ///
    /// # Errors
    /// When the level cannot be used.
    pub fn set_level(&self, level: &str) -> anyhow::Result<()> {
        let filter = filter(level)?;
        self.filter.reload(filter).context("the log has ended")
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// When journald was asked for by name and cannot be reached, or logging was started before.
pub fn start(settings: &LogSettings) -> anyhow::Result<Logging> {
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    let format = match settings.format {
        LogFormat::Auto => resolve(
            std::io::stderr().is_terminal(),
            std::env::var_os("JOURNAL_STREAM").is_some(),
        ),
        format => format,
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Journald => {
            Box::new(tracing_journald::layer().context("journald cannot be reached")?)
        }
        LogFormat::Json => Box::new(
            tracing_subscriber::fmt::layer()
                .json()
                .with_writer(std::io::stderr),
        ),
        LogFormat::Text | LogFormat::Auto => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Box::new(
                tracing_subscriber::fmt::layer()
                    .with_ansi(colours)
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
        }
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .context("logging was started before")?;
    Ok(Logging { filter: handle })
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).context("log.level cannot be used")
}

/// What `auto` means here.
fn resolve(terminal: bool, journal: bool) -> LogFormat {
    match (terminal, journal) {
        (true, _) => LogFormat::Text,
        (false, true) => LogFormat::Journald,
        (false, false) => LogFormat::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_text_on_a_terminal_journald_under_systemd_and_json_elsewhere() {
        assert_eq!(resolve(true, true), LogFormat::Text);
        assert_eq!(resolve(false, true), LogFormat::Journald);
        assert_eq!(resolve(false, false), LogFormat::Json);
    }
}
