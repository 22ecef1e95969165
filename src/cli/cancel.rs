//! `cancel`: stops following jobs.

use anyhow::bail;

use super::screen::{Screen, Tone};
use super::text;
use crate::core::job::JobId;
use crate::record::command::CancelRecord;
use crate::store::{Jobs as _, Store};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/cancel.txt").trim_end())]
pub(super) struct Args {
    /// The jobs
    #[arg(required = true, value_name = "ID", value_parser = JobId::parse)]
    ids: Vec<JobId>,
    /// Print one JSON object per job
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let width = args.ids.iter().map(|id| id.as_str().len()).max();
    let mut unknown = 0;
    for id in &args.ids {
        let (outcome, tone, mark, text) = match store.request_cancel(id).await? {
            Some(true) => ("requested", Tone::Good, "✓", "will be cancelled"),
            Some(false) => ("ended", Tone::Dim, "·", "has ended already"),
            None => ("unknown", Tone::Bad, "✗", "no such job"),
        };
        unknown += u64::from(outcome == "unknown");
        screen.answer(args.json, &CancelRecord { id, outcome }, |view| {
            let id = text::pad(id.as_str(), width.unwrap_or_default());
            vec![view.marked(tone, mark, &format!("{id}  {}", view.paint(tone, text)))]
        })?;
    }
    let unknown = match unknown {
        0 => return Ok(()),
        1 => "one of these jobs is".to_owned(),
        many => format!("{many} of these jobs are"),
    };
    bail!("{unknown} not in the database; list those that are with: jobtrackd list")
}
