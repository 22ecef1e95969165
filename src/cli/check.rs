//! `jobtrackd check`: whether everything the daemon needs is there and works.

use std::fmt::Write as _;

use anyhow::bail;
use rustix::fs::Access;
use serde::Serialize;

use super::screen::Screen;
use super::style::{Style, Tone};
use crate::clock::{Clock, Jitter};
use crate::config::{Settings, Sources, load};
use crate::core::delivery::WebhookName;
use crate::store::{Store, StoreError};
use crate::upstream::Upstream;
use crate::webhook::Sender;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send nothing: look at the configuration and the database only
    #[arg(long)]
    offline: bool,
    /// One JSON object per finding
    #[arg(long)]
    json: bool,
}

/// What was found of one thing.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    detail: String,
}

impl Finding {
    fn good(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ok: true,
            detail: detail.into(),
        }
    }

    fn bad(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ok: false,
            detail: detail.into(),
        }
    }
}

/// Prints what was found; an error when anything is wrong.
pub(super) async fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    let settings = load(sources)?;
    let clock = Clock::system();
    let mut screen = Screen::new(clock.now());
    let mut findings = vec![configuration(sources, &settings)];
    findings.extend(
        settings
            .warnings
            .iter()
            .map(|warning| Finding::good("warning", warning.clone())),
    );
    findings.extend(database(&settings, &clock).await);
    if !args.offline {
        findings.push(upstream(&settings, &clock).await);
        findings.extend(webhooks(&settings, &clock).await);
    }
    for finding in &findings {
        if args.json {
            screen.json(finding)?;
        } else {
            screen.line(&line(finding, screen.view.style));
        }
    }
    screen.finish()?;
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        failed => bail!("{failed} checks failed"),
    }
}

fn line(finding: &Finding, style: Style) -> String {
    let mut line = String::new();
    let (sign, tone) = match (finding.ok, finding.what.as_str()) {
        (true, "warning") => ("!", Tone::Warn),
        (true, _) => ("✓", Tone::Good),
        (false, _) => ("✗", Tone::Bad),
    };
    let _ = write!(
        line,
        "{} {}: {}",
        style.paint(tone, sign),
        finding.what,
        finding.detail
    );
    line
}

fn configuration(sources: &Sources, settings: &Settings) -> Finding {
    let from = match &sources.file {
        Some(file) => file.display().to_string(),
        None => "no file, built-in defaults and the environment".to_owned(),
    };
    let webhooks = settings.webhooks.len();
    Finding::good("configuration", format!("{from}; {webhooks} webhooks"))
}

async fn database(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    let path = &settings.database.path;
    let store = match Store::open(path, clock.clone()).await {
        Ok(store) => store,
        Err(StoreError::Absent(path)) => return vec![absent(&path)],
        Err(error) => return vec![Finding::bad("database", error.to_string())],
    };
    let mut findings = vec![Finding::good("database", path.display().to_string())];
    let names: Vec<WebhookName> = settings
        .webhooks
        .iter()
        .map(|webhook| webhook.name.clone())
        .collect();
    match store.unknown_webhooks(&names).await {
        Ok(unknown) => findings.extend(unknown.into_iter().map(|(name, jobs)| {
            let name = crate::core::poll::printable(&name, 64);
            Finding::bad(
                "jobs",
                format!("{jobs} running jobs name the webhook \"{name}\", which is not configured"),
            )
        })),
        Err(error) => findings.push(Finding::bad("jobs", error.to_string())),
    }
    for name in &names {
        if let Ok(health) = store.webhook_health(name).await
            && let Some((since, reason)) = health.disabled
        {
            findings.push(Finding::bad(
                format!("webhook {name}"),
                format!("disabled since {since}: {reason}"),
            ));
        }
    }
    store.leave().await;
    findings
}

/// A first start creates the file, if it may.
fn absent(path: &std::path::Path) -> Finding {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(std::path::Path::new("."));
    match rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::good(
            "database",
            format!("{} is created at the first start", path.display()),
        ),
        Err(error) => Finding::bad(
            "database",
            format!(
                "{} cannot be created: {}: {error}",
                path.display(),
                folder.display()
            ),
        ),
    }
}

async fn upstream(settings: &Settings, clock: &Clock) -> Finding {
    let upstream = match Upstream::new(&settings.upstream, clock.clone(), Jitter::system()) {
        Ok(upstream) => upstream,
        Err(error) => return Finding::bad("upstream", error.to_string()),
    };
    match upstream.check().await {
        Ok(checked) => Finding::good("upstream", checked.summary),
        Err(error) => Finding::bad("upstream", error.to_string()),
    }
}

async fn webhooks(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    let sender = match Sender::new(clock.clone()) {
        Ok(sender) => sender,
        Err(error) => return vec![Finding::bad("webhooks", error.to_string())],
    };
    let mut findings = Vec::new();
    for webhook in &settings.webhooks {
        let what = format!("webhook {}", webhook.name);
        findings.push(match sender.reach(webhook).await {
            Ok(status) => Finding::good(
                what,
                format!("can be reached (HEAD answered with {status}); no event was sent"),
            ),
            Err((class, detail)) => Finding::bad(what, format!("{}: {detail}", class.as_str())),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::good("webhooks", "none configured; nobody is told"));
    }
    findings
}
