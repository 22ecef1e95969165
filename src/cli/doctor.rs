//! `jobtrackd doctor`: what is wrong with this host, why it matters, and what to type next.

use anyhow::bail;

use super::privilege::reads_as_root;
use super::probe::account::Accounts;
use super::probe::{
    Finding, Level, as_root, configuration, daemon, database, disk, files, host, jobs, upstream,
    webhooks,
};
use super::screen::Screen;
use super::style::Tone;
use super::text::{count, wrap};
use crate::clock::Clock;
use crate::config::{DatabaseSettings, Settings, Sources, load, load_database};
use crate::core::delivery::WebhookName;
use crate::core::time::UnixMillis;
use crate::store::{Holder, Store, folder_of};

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
    report.part("Host", &host::look().await)?;

    let (sources, borrowed) = configuration::with_credentials(sources);
    let mut findings = Vec::from_iter(borrowed);
    let loaded = load(&sources);
    let settings = loaded.as_ref().ok();
    let known = match settings {
        Some(settings) => Some(settings.database.clone()),
        None => load_database(&sources).ok(),
    };
    let accounts = Accounts::of_this_machine();
    let daemons = known
        .as_ref()
        .and_then(|known| files::daemon_of(&known.path, &accounts));
    match &loaded {
        Ok(settings) => findings.extend(configuration::good(&sources, settings)),
        Err(error) => findings.extend(configuration::bad(&sources, error, known.is_some())),
    }
    let secrets = settings.map_or(&[][..], |settings| &settings.secret_files);
    findings.extend(configuration::files(&sources, secrets, daemons, &accounts));
    report.part("Configuration", &findings)?;

    if let Some(known) = &known {
        let visit = Visit {
            database: known,
            settings,
            accounts: &accounts,
            clock: &clock,
            offline: args.offline,
        };
        visit.make(&mut report).await?;
    }
    report.verdict()?;
    match loaded {
        Err(error) if known.is_none() || !configuration::may_be_hidden(&error) => Err(error.into()),
        _ if report.problems > 0 => bail!("the doctor found {}", count(report.problems, "problem")),
        _ => Ok(()),
    }
}

/// What is looked at once it is known where the database is.
struct Visit<'a> {
    database: &'a DatabaseSettings,
    /// Nothing when the configuration is bad, or its secrets may not be read from here.
    settings: Option<&'a Settings>,
    accounts: &'a Accounts,
    clock: &'a Clock,
    offline: bool,
}

impl Visit<'_> {
    async fn make(&self, report: &mut Report) -> anyhow::Result<()> {
        let path = &self.database.path;
        let (findings, store) = self.database().await;
        report.part("Database", &findings)?;
        if let Some(store) = &store {
            report.part("Jobs", &self.jobs(store).await)?;
        }
        let (mut findings, holder) = daemon::lock(path).await;
        if let Some(settings) = self.settings {
            findings.extend(self.daemon(settings, holder.as_ref()).await);
        }
        report.part("Daemon", &findings)?;
        if let Some(settings) = self.settings {
            self.remote(settings, store.as_ref(), report).await?;
        }
        if let Some(store) = store {
            store.leave().await;
        }
        Ok(())
    }

    async fn database(&self) -> (Vec<Finding>, Option<Store>) {
        let path = &self.database.path;
        // Before the database is opened, which makes files beside it.
        let mut findings = files::look(path, self.accounts);
        // A folder that is not there has been told; nothing in it can be.
        if !folder_of(path).try_exists().unwrap_or(true) {
            return (findings, None);
        }
        let filesystem = disk::filesystem(self.database);
        let refused = filesystem.level == Level::Problem;
        findings.push(filesystem);
        findings.extend(disk::room(path));
        findings.push(database::log(path));
        if refused {
            return (findings, None);
        }
        let (opened, store) = database::open(self.database, self.clock).await;
        findings.push(self.fair(opened));
        if let Some(store) = &store {
            findings.extend(database::inside(store, path).await);
        }
        (findings, store)
    }

    /// What this user may not open need not be broken.
    fn fair(&self, opened: Finding) -> Finding {
        let path = &self.database.path;
        let there = path.try_exists().unwrap_or(true);
        let barred = !reads_as_root() && there && !files::may_use(path);
        if opened.level == Level::Problem && barred {
            return Finding::note(opened.check, opened.says, as_root());
        }
        opened
    }

    async fn jobs(&self, store: &Store) -> Vec<Finding> {
        let origin = self.settings.map(origin);
        let mut findings = jobs::look(store, origin.as_deref(), self.clock).await;
        if let Some(settings) = self.settings {
            findings.extend(jobs::unknown_webhooks(store, &names(settings)).await);
        }
        findings
    }

    async fn daemon(&self, settings: &Settings, holder: Option<&Holder>) -> Vec<Finding> {
        vec![
            daemon::ready(&settings.status, holder).await,
            daemon::open_files(settings, holder),
        ]
    }

    async fn remote(
        &self,
        settings: &Settings,
        store: Option<&Store>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let until: Option<UnixMillis> = match store {
            Some(store) => jobs::pause(store, &origin(settings), self.clock).await,
            None => None,
        };
        let most = self.clock.now().plus(settings.upstream.max_retry_after);
        if let Some(until) = until {
            report.part("Upstream", &[upstream::resting(until.min(most))])?;
        } else if !self.offline {
            let findings = upstream::look(&settings.upstream, self.clock).await;
            report.part("Upstream", &findings)?;
        }
        let mut findings = Vec::new();
        if let Some(store) = store {
            let names = names(settings);
            findings.extend(webhooks::stranded(store, &names).await);
            findings.extend(webhooks::spoilt(store, &names).await);
            findings.extend(webhooks::disabled(store, &names).await);
            findings.extend(webhooks::backlog(store, &names, self.clock).await);
        }
        if !self.offline {
            findings.extend(webhooks::reach(&settings.webhooks, self.clock).await);
        }
        findings.sort_by(|a, b| a.webhook.cmp(&b.webhook));
        report.part("Webhooks", &findings)
    }
}

fn origin(settings: &Settings) -> String {
    settings.upstream.base_url.origin().ascii_serialization()
}

fn names(settings: &Settings) -> Vec<WebhookName> {
    let webhooks = settings.webhooks.iter();
    webhooks.map(|webhook| webhook.name.clone()).collect()
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
            match finding.level {
                Level::Problem => self.problems += 1,
                Level::Warning => self.warnings += 1,
                Level::Note | Level::Ok => {}
            }
            if self.json {
                self.screen.json(&Told::from(finding))?;
            } else {
                self.print(finding);
            }
        }
        // Somebody waits for it, and the next part may take a while.
        self.screen.flush();
        Ok(())
    }

    fn print(&mut self, finding: &Finding) {
        let view = self.screen.view;
        let (sign, tone) = finding.level.sign();
        let says = wrap(&told(finding), view.width.saturating_sub(INDENT + 2));
        for (line, text) in says.iter().enumerate() {
            let sign = if line == 0 { sign } else { " " };
            let sign = view.paint(tone, sign);
            self.screen.line(&format!("{:INDENT$}{sign} {text}", ""));
        }
        let advice = finding.advice.as_deref().unwrap_or_default();
        // A command that is broken over lines could not be copied.
        for text in advice
            .split("; run: ")
            .enumerate()
            .map(|(part, text)| match part {
                0 => text.to_owned(),
                _ => format!("run: {text}"),
            })
        {
            if !text.is_empty() {
                let text = view.paint(Tone::Dim, &text);
                self.screen.line(&format!("{:ADVICE_INDENT$}{text}", ""));
            }
        }
    }

    fn verdict(&mut self) -> anyhow::Result<()> {
        if !self.json {
            let (text, tone) = match (self.problems, self.warnings) {
                (0, 0) => ("no problem found".to_owned(), Tone::Good),
                (0, warnings) => (count(warnings, "warning"), Tone::Warn),
                (problems, 0) => (count(problems, "problem"), Tone::Bad),
                (problems, warnings) => (
                    format!(
                        "{}, {}",
                        count(problems, "problem"),
                        count(warnings, "warning")
                    ),
                    Tone::Bad,
                ),
            };
            let text = self.screen.view.paint(tone, &text);
            self.screen.line(&text);
        }
        self.screen.finish()
    }
}

/// A finding as one JSON object.
#[derive(serde::Serialize)]
struct Told<'a> {
    check: &'a str,
    level: Level,
    says: String,
    advice: Option<&'a str>,
}

impl<'a> From<&'a Finding> for Told<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            check: finding.check,
            level: finding.level,
            says: told(finding),
            advice: finding.advice.as_deref(),
        }
    }
}

/// What a finding says, with the webhook it is about.
fn told(finding: &Finding) -> String {
    match &finding.webhook {
        Some(_) => format!("{}: {}", finding.subject(), finding.says),
        None => finding.says.clone(),
    }
}
