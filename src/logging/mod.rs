//! Logs: text on a terminal, structured entries to journald under systemd, JSON elsewhere.
//!
//! An event is recorded once, escaped and cut (`line`), and then written in one of three formats.

mod journal;
mod line;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::clock::Clock;
use crate::config::{LogFormat, LogSettings};
use journal::Journal;
use line::Line;

/// How much is logged; it can be changed while the process runs.
#[derive(Debug, Clone)]
pub struct Verbosity {
    filter: reload::Handle<EnvFilter, Registry>,
    journal: Option<Journal>,
}

impl Verbosity {
    /// Logs from now on what `level` says, in the words of [`LogSettings::level`].
    ///
    /// # Errors
    /// When these words cannot be parsed.
    pub fn set(&self, level: &str) -> anyhow::Result<()> {
        self.filter
            .reload(filter(level)?)
            .context("log.level cannot be changed")
    }

    /// Waits until what was logged is written, before the process ends; a second at most.
    pub fn flush(&self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// When journald was asked for by name and cannot be reached, or logging was started before.
pub fn start(settings: &LogSettings) -> anyhow::Result<Verbosity> {
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    let stream = std::env::var_os("JOURNAL_STREAM");
    let stderr = io::stderr();
    let format = resolve(
        settings.format,
        stderr.is_terminal(),
        is_journal(stream.as_deref(), &stderr),
    );
    let socket = Path::new(journal::SOCKET);
    let (output, unreachable) =
        choose(settings.format, format, socket).context("journald cannot be reached")?;
    let journal = match &output {
        Output::Journal(journal) => Some(journal.clone()),
        Output::Text { .. } | Output::Json => None,
    };
    let lines = Lines {
        output,
        clock: Clock::system(),
        write: to_stderr,
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .context("logging was started before")?;
    if let Some(error) = unreachable {
        tracing::warn!(%error, "journald cannot be reached; the log goes to standard error");
    }
    Ok(Verbosity {
        filter: handle,
        journal,
    })
}

/// One word is the level of our own lines; libraries log at `info`, since at `debug` they log every connection, which hides
/// the rest. Directives are used unchanged.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let detailed = ["debug", "trace"]
        .into_iter()
        .find(|word| level.trim().eq_ignore_ascii_case(word));
    let directives = match detailed {
        Some(word) => format!("info,jobtrackd={word}"),
        None => level.to_owned(),
    };
    EnvFilter::try_new(directives).context("log.level cannot be used")
}

/// The format that `auto` means here.
fn resolve(format: LogFormat, terminal: bool, journal: bool) -> LogFormat {
    match (format, terminal, journal) {
        (LogFormat::Auto, true, _) => LogFormat::Text,
        (LogFormat::Auto, false, true) => LogFormat::Journald,
        (LogFormat::Auto, false, false) => LogFormat::Json,
        (format, ..) => format,
    }
}

/// Whether standard error is the stream to the journal that `JOURNAL_STREAM` names by device and inode. The variable
/// alone is no proof: children inherit it, whatever their standard error is.
fn is_journal(stream: Option<&OsStr>, stderr: impl AsFd) -> bool {
    let named = stream.and_then(OsStr::to_str).and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    let found = rustix::fs::fstat(stderr).map(|found| (found.st_dev, found.st_ino));
    named.is_some() && named == found.ok()
}

/// The output for `format`, which is what the settings say or what `auto` means here. Only journald by name must be
/// there; else the error is a warning.
fn choose(
    setting: LogFormat,
    format: LogFormat,
    journal: &Path,
) -> io::Result<(Output, Option<io::Error>)> {
    match output(format, journal) {
        Ok(output) => Ok((output, None)),
        Err(error) if setting == LogFormat::Auto => Ok((Output::Json, Some(error))),
        Err(error) => Err(error),
    }
}

fn output(format: LogFormat, journal: &Path) -> io::Result<Output> {
    Ok(match format {
        LogFormat::Journald => Output::Journal(Journal::at(journal)?),
        LogFormat::Json => Output::Json,
        LogFormat::Text | LogFormat::Auto => Output::Text {
            colours: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        },
    })
}

fn to_stderr(line: &str) {
    // When this fails, it can be reported nowhere.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Where lines go, and in which format.
#[derive(Debug)]
enum Output {
    Text { colours: bool },
    Json,
    Journal(Journal),
}

/// Writes each event as one line.
#[derive(Debug)]
struct Lines<W> {
    output: Output,
    clock: Clock,
    write: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber,
    W: Fn(&str) + Send + Sync + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event, self.clock.now());
        match &self.output {
            Output::Text { colours } => (self.write)(&line.text(*colours)),
            Output::Json => (self.write)(&line.json()),
            Output::Journal(journal) => {
                if journal.send(&line).is_err() {
                    (self.write)(&line.json());
                }
            }
        }
    }
}
