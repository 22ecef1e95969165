//! `jobtrackd doctor`: what is wrong with this host, why it matters, and what to type next.

use anyhow::bail;

use super::privilege::reads_as_root;
use super::probe::account::Accounts;
use super::probe::{
    Finding, Level, configuration, daemon, database, files, host, jobs, upstream, webhooks,
};
use super::screen::Screen;
use super::style::Tone;
use super::text::{count, wrap};
use super::unknown::names_of;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, Settings, Sources, load, load_database};
use crate::record::command::FindingRecord;
use crate::store::{Store, folder_of};

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
    let clock = Clock::system();
    let mut report = Report::new(args.json, &clock);
    report.part("Host", &host::probe().await)?;

    let (sources, borrowed) = configuration::with_credentials(sources);
    let loaded = load(&sources);
    let settings = loaded.as_ref().ok();
    let database = match settings {
        Some(settings) => Some(settings.database.clone()),
        None => load_database(&sources).ok(),
    };
    let accounts = Accounts::of_this_machine();
    let path = database.as_ref().map(|database| &database.path);
    let daemon = path.and_then(|path| files::daemon_of(path, &accounts));
    let mut findings = Vec::from_iter(borrowed);
    findings.extend(match &loaded {
        Ok(settings) => configuration::good(&sources, settings),
        Err(error) => configuration::bad(&sources, error, database.is_some()),
    });
    let secrets = settings.map_or(&[][..], |settings| &settings.secret_files);
    findings.extend(configuration::files(&sources, secrets, daemon, &accounts));
    report.part("Configuration", &findings)?;

    if let Some(database) = &database {
        let installation = Installation {
            database,
            settings,
            accounts: &accounts,
            clock: &clock,
            offline: args.offline,
        };
        installation.probe(&mut report).await?;
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

/// Probes everything that needs the path of the database.
struct Installation<'a> {
    database: &'a DatabaseSettings,
    /// `None` when the configuration is bad, or its secrets may not be read.
    settings: Option<&'a Settings>,
    accounts: &'a Accounts,
    clock: &'a Clock,
    offline: bool,
}

impl Installation<'_> {
    async fn probe(&self, report: &mut Report) -> anyhow::Result<()> {
        let (findings, store) = self.database().await;
        report.part("Database", &findings)?;
        if let Some(store) = &store {
            report.part("Jobs", &self.jobs(store).await)?;
        }
        let (mut findings, holder) = daemon::lock(&self.database.path).await;
        if let Some(settings) = self.settings {
            findings.push(daemon::ready(&settings.status, holder.as_ref()).await);
            findings.push(daemon::open_files(settings, holder.as_ref()));
        }
        report.part("Daemon", &findings)?;
        if let Some(settings) = self.settings {
            let findings = self.upstream(settings, store.as_ref()).await;
            report.part("Upstream", &findings)?;
            let findings = self.webhooks(settings, store.as_ref()).await;
            report.part("Webhooks", &findings)?;
        }
        if let Some(store) = store {
            store.leave().await;
        }
        Ok(())
    }

    async fn database(&self) -> (Vec<Finding>, Option<Store>) {
        let path = &self.database.path;
        // Before the database is opened, which creates files beside it.
        let mut findings = files::probe(path, self.accounts);
        // A folder that does not exist was reported.
        if !folder_of(path).try_exists().unwrap_or(true) {
            return (findings, None);
        }
        let filesystem = database::filesystem(self.database);
        let refused = filesystem.level == Level::Problem;
        findings.push(filesystem);
        findings.extend(database::room(path));
        findings.push(database::log(path));
        if refused {
            return (findings, None);
        }
        let (opened, store) = database::open(self.database, self.clock).await;
        // A file that this user may not open need not be broken.
        let there = path.try_exists().unwrap_or(true);
        let barred = !reads_as_root() && there && !files::may_use(path);
        findings.push(match opened.level == Level::Problem && barred {
            true => Finding::hidden(opened.check, opened.text),
            false => opened,
        });
        if let Some(store) = &store {
            findings.extend(database::inside(store, path).await);
        }
        (findings, store)
    }

    async fn jobs(&self, store: &Store) -> Vec<Finding> {
        let origin = self.settings.map(origin);
        let mut findings = jobs::probe(store, origin.as_deref(), self.clock).await;
        if let Some(settings) = self.settings {
            let names = names_of(&settings.webhooks);
            findings.extend(jobs::unknown_webhooks(store, &names).await);
        }
        findings
    }

    async fn upstream(&self, settings: &Settings, store: Option<&Store>) -> Vec<Finding> {
        let until = match store {
            Some(store) => jobs::pause(store, &origin(settings), self.clock).await,
            None => None,
        };
        let latest = self.clock.now().plus(settings.upstream.max_retry_after);
        match until {
            Some(until) => vec![upstream::paused(until.min(latest))],
            None if self.offline => Vec::new(),
            None => upstream::probe(&settings.upstream, self.clock).await,
        }
    }

    async fn webhooks(&self, settings: &Settings, store: Option<&Store>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(store) = store {
            let names = names_of(&settings.webhooks);
            findings.extend(webhooks::stranded(store, &names).await);
            findings.extend(webhooks::disabled(store, &names).await);
            findings.extend(webhooks::backlog(store, &names, self.clock).await);
        }
        if !self.offline {
            findings.extend(webhooks::reach(&settings.webhooks, self.clock).await);
        }
        findings.sort_by(|a, b| a.webhook.cmp(&b.webhook));
        findings
    }
}

fn origin(settings: &Settings) -> String {
    settings.upstream.base_url.origin().ascii_serialization()
}

/// Prints findings as they come, and counts them.
struct Report {
    screen: Screen,
    json: bool,
    problems: u64,
    warnings: u64,
}

impl Report {
    fn new(json: bool, clock: &Clock) -> Self {
        Self {
            screen: Screen::new(clock.now()),
            json,
            problems: 0,
            warnings: 0,
        }
    }

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
