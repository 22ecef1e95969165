//! `jobtrackd check`: whether everything the daemon needs is there and works.

use anyhow::bail;

use super::probe::{Finding, Level, configuration, database, jobs, upstream, webhooks};
use super::screen::Screen;
use crate::clock::Clock;
use crate::config::{Settings, Sources, load};
use crate::core::job::JobId;
use crate::operator::webhooks::names_of;
use crate::record::command::CheckRecord;
use crate::store::Jobs as _;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send nothing: check the configuration and the database only
    #[arg(long)]
    offline: bool,
    /// Poll this job too, and show what is read in the answer
    #[arg(long, value_name = "ID", value_parser = JobId::parse, conflicts_with = "offline")]
    job: Option<JobId>,
    /// One JSON object per finding
    #[arg(long)]
    json: bool,
}

/// Prints what was found; an error when anything is wrong.
pub(super) async fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    let settings = load(sources)?;
    let clock = Clock::system();
    let mut screen = Screen::new(clock.now());
    let mut findings = configuration::good(sources, &settings);
    let (stored, url) = stored(&settings, &clock, args.job.as_ref()).await;
    findings.extend(stored);
    if !args.offline {
        let upstream = upstream::probe(&settings.upstream, &clock).await;
        // Only doctor compares the clocks.
        findings.extend(
            upstream
                .into_iter()
                .filter(|found| found.subject() == "upstream"),
        );
        if let Some(id) = &args.job {
            let job = upstream::job(&settings.upstream, &clock, id, url.as_deref());
            let job = job.await;
            // A job that is there is read, so what answers for one that is not there counts no more.
            if job.level == Level::Ok {
                findings
                    .retain(|found| found.check != "upstream.answer" || found.level == Level::Ok);
            }
            findings.push(job);
        }
        findings.extend(webhooks::reach(&settings.webhooks, &clock).await);
    }
    for finding in &findings {
        let record = record(finding);
        screen.answer(args.json, &record, |view| {
            let (mark, tone) = finding.level.mark();
            vec![view.marked(tone, mark, &format!("{}: {}", record.what, record.detail))]
        })?;
    }
    screen.finish()?;
    let failed = findings.iter().filter(|each| each.level == Level::Problem);
    match failed.count() {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        failed => bail!("{failed} checks failed"),
    }
}

fn record(finding: &Finding) -> CheckRecord {
    let detail = match (&finding.advice, finding.level) {
        (Some(advice), Level::Warning | Level::Problem) => format!("{}; {advice}", finding.text),
        _ => finding.text.clone(),
    };
    CheckRecord {
        what: match finding.level {
            Level::Warning => "warning".to_owned(),
            _ => finding.subject(),
        },
        ok: finding.level != Level::Problem,
        detail,
    }
}

/// What is wrong with what is stored; and the `url` of the job, if its row has one.
async fn stored(
    settings: &Settings,
    clock: &Clock,
    job: Option<&JobId>,
) -> (Vec<Finding>, Option<String>) {
    let (opened, store) = database::open(&settings.database, clock).await;
    let mut findings = vec![opened];
    let Some(store) = store else {
        return (findings, None);
    };
    let names = names_of(&settings.webhooks);
    findings.extend(jobs::unknown_webhooks(&store, &names).await);
    findings.extend(webhooks::unsent(&store, &names).await);
    let row = match job {
        Some(id) => store.job(id).await.ok().flatten(),
        None => None,
    };
    store.leave().await;
    (findings, row.and_then(|row| row.url))
}
