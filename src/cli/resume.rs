//! `resume`: ends a pause that the API asked for.

use super::screen::Screen;
use super::text::count;
use crate::record::command::{PauseRecord, ResumeRecord};
use crate::store::{Resumed, Store, Upstreams as _};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/resume.txt").trim_end())]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let Resumed { pauses, jobs } = store.resume_upstreams().await?;
    let records = pauses.iter().map(|(origin, until)| PauseRecord {
        origin,
        paused_until: until.rfc3339(),
    });
    let record = ResumeRecord {
        pauses: records.collect(),
        jobs,
    };
    screen.answer(args.json, &record, |view| {
        let ended = pauses.iter().map(|(origin, until)| {
            view.done(&format!(
                "the pause that {origin} asked for, until {until}, is over"
            ))
        });
        let mut lines: Vec<String> = ended.collect();
        if lines.is_empty() {
            lines.push(view.dim("· no pause was in force"));
        }
        if jobs > 0 {
            let jobs = count(jobs, "job");
            lines.push(view.done(&format!("{jobs} that the API throttled: polled at once")));
        }
        lines
    })
}
