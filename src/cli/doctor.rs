//! `jobtrackd doctor`: what is wrong with this host, why it matters, and what to type next.

use anyhow::bail;

use super::probe::account::Accounts;
use super::probe::{
    Finding, Level, configuration, daemon, database, host, jobs, upstream, webhooks,
};
use super::screen::{Screen, Tone};
use super::text::{count, wrap};
use crate::clock::Clock;
use crate::config::{Sources, load, load_database};
use crate::operator::webhooks::names_of;
use crate::record::command::FindingRecord;

/// Columns before a finding, and before its advice.
const INDENT: usize = 2;
const ADVICE_INDENT: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send nothing over the network, and ask only the daemon of this host
    #[arg(long)]
    offline: bool,
    /// One JSON object per finding
    #[arg(long)]
    json: bool,
}

/// Prints what was found, part by part; an error when anything is a problem, that of the configuration first.
pub(super) async fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    let clock = &Clock::system();
    let mut report = Report {
        screen: Screen::new(clock.now()),
        json: args.json,
        problems: 0,
        warnings: 0,
    };
    report.part("Host", &host::probe().await)?;

    let (sources, borrowed) = configuration::with_credentials(sources);
    let loaded = load(&sources);
    // `None` when the configuration is bad, or its secrets may not be read.
    let settings = loaded.as_ref().ok();
    let database = match settings {
        Some(settings) => Some(settings.database.clone()),
        None => load_database(&sources).ok(),
    };
    let accounts = &Accounts::of_this_machine();
    let mut findings = Vec::from_iter(borrowed);
    let files = configuration::probe(&sources, &loaded, database.as_ref(), accounts);
    findings.extend(files);
    report.part("Configuration", &findings)?;

    if let Some(database) = &database {
        let (findings, store) = database::probe(database, accounts, clock).await;
        report.part("Database", &findings)?;
        let (store, names) = (
            store.as_ref(),
            settings.map(|each| names_of(&each.webhooks)),
        );
        let pause = match settings.zip(store) {
            Some((settings, store)) => jobs::pause(store, &settings.upstream, clock).await,
            None => None,
        };
        if let Some(store) = store {
            let findings = jobs::probe(store, names.as_deref(), pause, clock).await;
            report.part("Jobs", &findings)?;
        }
        report.part("Daemon", &daemon::probe(&database.path, settings).await)?;
        if let Some((settings, names)) = settings.zip(names) {
            let findings = match pause {
                Some(until) => {
                    let latest = clock.now().plus(settings.upstream.max_retry_after);
                    vec![upstream::paused(until.min(latest))]
                }
                None if args.offline => Vec::new(),
                None => upstream::probe(&settings.upstream, clock).await,
            };
            report.part("Upstream", &findings)?;
            let reached = (!args.offline).then_some(&settings.webhooks[..]);
            let findings = webhooks::probe(store, &names, reached, clock).await;
            report.part("Webhooks", &findings)?;
        }
        if let Some(store) = store {
            store.leave().await;
        }
    }
    report.verdict()?;
    match loaded {
        Err(error) if database.is_none() || !configuration::may_be_hidden(&error) => {
            Err(error.into())
        }
        _ if report.problems > 0 => bail!("the doctor found {}", count(report.problems, "problem")),
        _ => Ok(()),
    }
}

/// Prints findings as they come, and counts them.
struct Report {
    screen: Screen,
    json: bool,
    problems: u64,
    warnings: u64,
}

impl Report {
    fn part(&mut self, heading: &str, findings: &[Finding]) -> anyhow::Result<()> {
        if !self.json && !findings.is_empty() {
            let heading = self.screen.view.paint(Tone::Strong, heading);
            self.screen.line(&heading);
        }
        for finding in findings {
            self.problems += u64::from(finding.level == Level::Problem);
            self.warnings += u64::from(finding.level == Level::Warning);
            let text = match &finding.webhook {
                Some(_) => format!("{}: {}", finding.subject(), finding.text),
                None => finding.text.clone(),
            };
            if self.json {
                self.screen.json(&FindingRecord {
                    check: finding.check,
                    level: finding.level.into(),
                    says: &text,
                    advice: finding.advice.as_deref(),
                })?;
            } else {
                self.print(finding, &text);
            }
        }
        // The next part may take a while.
        self.screen.flush();
        Ok(())
    }

    fn print(&mut self, finding: &Finding, text: &str) {
        let view = self.screen.view;
        let (mark, tone) = finding.level.mark();
        let lines = wrap(text, view.width.saturating_sub(INDENT + 2));
        for (index, line) in lines.iter().enumerate() {
            let mark = if index == 0 { mark } else { " " };
            let line = view.marked(tone, mark, line);
            self.screen.line(&format!("{:INDENT$}{line}", ""));
        }
        let advice = finding.advice.as_deref().unwrap_or_default();
        // A command that is wrapped could not be copied.
        for line in advice.replace("; run: ", "\nrun: ").lines() {
            let line = view.dim(line);
            self.screen.line(&format!("{:ADVICE_INDENT$}{line}", ""));
        }
    }

    fn verdict(&mut self) -> anyhow::Result<()> {
        if !self.json {
            let problems = count(self.problems, "problem");
            let warnings = count(self.warnings, "warning");
            let (text, tone) = match (self.problems, self.warnings) {
                (0, 0) => ("no problem found".to_owned(), Tone::Good),
                (0, _) => (warnings, Tone::Warn),
                (_, 0) => (problems, Tone::Bad),
                (_, _) => (format!("{problems}, {warnings}"), Tone::Bad),
            };
            let text = self.screen.view.paint(tone, &text);
            self.screen.line(&text);
        }
        self.screen.finish()
    }
}
