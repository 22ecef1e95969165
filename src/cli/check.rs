//! `jobtrackd check`: whether everything the daemon needs is there and works.

use anyhow::bail;
use serde::Serialize;

use super::probe::{Finding, Level, configuration, database, jobs, upstream, webhooks};
use super::screen::Screen;
use super::style::Style;
use crate::clock::Clock;
use crate::config::{Settings, Sources, load};
use crate::core::delivery::WebhookName;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send nothing: look at the configuration and the database only
    #[arg(long)]
    offline: bool,
    /// One JSON object per finding
    #[arg(long)]
    json: bool,
}

/// A finding as this command prints it.
#[derive(Debug, Serialize)]
struct Line {
    what: String,
    ok: bool,
    detail: String,
}

impl From<&Finding> for Line {
    fn from(finding: &Finding) -> Self {
        let advice = match (&finding.advice, finding.level) {
            (Some(advice), Level::Warning | Level::Problem) => format!("; {advice}"),
            _ => String::new(),
        };
        Self {
            what: match finding.level {
                Level::Warning => "warning".to_owned(),
                _ => finding.subject(),
            },
            ok: finding.level != Level::Problem,
            detail: format!("{}{advice}", finding.says),
        }
    }
}

/// Prints what was found; an error when anything is wrong.
pub(super) async fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    let settings = load(sources)?;
    let clock = Clock::system();
    let mut screen = Screen::new(clock.now());
    let mut findings = configuration::good(sources, &settings);
    findings.extend(stored(&settings, &clock).await);
    if !args.offline {
        let upstream = upstream::look(&settings.upstream, &clock).await;
        // How the clocks compare is the doctor's business.
        findings.extend(
            upstream
                .into_iter()
                .filter(|found| found.subject() == "upstream"),
        );
        findings.extend(webhooks::reach(&settings.webhooks, &clock).await);
    }
    for finding in &findings {
        if args.json {
            screen.json(&Line::from(finding))?;
        } else {
            screen.line(&line(finding, screen.view.style));
        }
    }
    screen.finish()?;
    let failed = findings.iter();
    match failed.filter(|each| each.level == Level::Problem).count() {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        failed => bail!("{failed} checks failed"),
    }
}

fn line(finding: &Finding, style: Style) -> String {
    let (sign, tone) = finding.level.sign();
    let Line { what, detail, .. } = Line::from(finding);
    format!("{} {what}: {detail}", style.paint(tone, sign))
}

async fn stored(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    let (opened, store) = database::open(&settings.database, clock).await;
    let mut findings = vec![opened];
    let Some(store) = store else { return findings };
    let names: Vec<WebhookName> = settings
        .webhooks
        .iter()
        .map(|webhook| webhook.name.clone())
        .collect();
    findings.extend(jobs::unknown_webhooks(&store, &names).await);
    findings.extend(webhooks::stranded(&store, &names).await);
    findings.extend(webhooks::disabled(&store, &names).await);
    store.leave().await;
    findings
}
