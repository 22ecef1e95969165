//! `cancel`: jobs are followed no longer.

use anyhow::bail;
use serde::Serialize;

use super::screen::{Screen, View};
use super::style::Tone;
use super::text;
use crate::core::job::JobId;
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A daemon that is up notices at once; one that is down, when it starts. The job then ends as failed, \
                  kind cancelled, and its webhooks are told."
)]
pub(super) struct Args {
    /// The jobs
    #[arg(required = true, value_name = "ID", value_parser = JobId::parse)]
    ids: Vec<JobId>,
    /// Print one JSON object per job
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Requested,
    Ended,
    Unknown,
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a JobId,
    outcome: Outcome,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let width = args.ids.iter().map(|id| id.as_str().len()).max();
    let mut unknown = 0;
    for id in &args.ids {
        let outcome = match store.request_cancel(id).await? {
            Some(true) => Outcome::Requested,
            Some(false) => Outcome::Ended,
            None => Outcome::Unknown,
        };
        unknown += u64::from(outcome == Outcome::Unknown);
        if args.json {
            screen.json(&Record { id, outcome })?;
        } else {
            screen.line(&line(id, outcome, width.unwrap_or_default(), &screen.view));
        }
    }
    match unknown {
        0 => Ok(()),
        1 => bail!(
            "one of these jobs is not in the database; list those that are with: jobtrackd list"
        ),
        _ => bail!(
            "{unknown} of these jobs are not in the database; list those that are with: jobtrackd list"
        ),
    }
}

fn line(id: &JobId, outcome: Outcome, width: usize, view: &View) -> String {
    let (tone, mark, said) = match outcome {
        Outcome::Requested => (Tone::Good, "✓", "will be cancelled"),
        Outcome::Ended => (Tone::Dim, "·", "has ended already"),
        Outcome::Unknown => (Tone::Bad, "✗", "no such job"),
    };
    format!(
        "{} {}  {}",
        view.paint(tone, mark),
        text::pad(id.as_str(), width),
        view.paint(tone, said)
    )
}
