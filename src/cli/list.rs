//! `list`: many jobs in a table.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::screen::Screen;
use super::style::Tone;
use super::table;
use crate::core::job::JobState;
use crate::record::JobRecord;
use crate::store::{JobFilter, JobSummary, Store};

/// Jobs read at once.
const PAGE: u32 = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only jobs in this state
    #[arg(long, value_parser = states())]
    state: Option<JobState>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object per job
    #[arg(long)]
    json: bool,
}

fn states() -> impl TypedValueParser<Value = JobState> {
    let states = [
        JobState::Pending,
        JobState::InProgress,
        JobState::Success,
        JobState::Failed,
    ];
    PossibleValuesParser::new(states.map(JobState::as_str)).try_map(|word| {
        JobState::from_word(&word).ok_or_else(|| format!("there is no state {word}"))
    })
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let mut filter = JobFilter {
        state: args.state,
        after: None,
        limit: 0,
    };
    let mut left = args.limit;
    let mut jobs: Vec<JobSummary> = Vec::new();
    let mut more = false;
    while left > 0 && !screen.is_closed() {
        // One job more than is shown tells whether there are more.
        let wanted = left.min(PAGE);
        filter.limit = wanted + 1;
        let mut page = store.list(&filter).await?;
        more = page.len() > wanted as usize;
        page.truncate(wanted as usize);
        left -= wanted;
        filter.after = page
            .last()
            .map(|job| (job.row.created_at, job.row.id.clone()));
        if args.json {
            for job in &page {
                screen.json(&JobRecord::from(job))?;
            }
        } else {
            jobs.append(&mut page);
        }
        if !more {
            break;
        }
    }
    if !args.json {
        let view = screen.view;
        if jobs.is_empty() {
            let nothing = match args.state {
                Some(state) => format!("no job is {state}"),
                None => "no jobs yet; hand one over with: jobtrackd enqueue ID".to_owned(),
            };
            screen.line(&view.paint(Tone::Dim, &nothing));
        } else {
            screen.text(&table::jobs(&jobs, &view));
            if more {
                let note = format!("the newest {}; more with --limit N", jobs.len());
                screen.line(&view.paint(Tone::Dim, &note));
            }
        }
    }
    Ok(())
}
