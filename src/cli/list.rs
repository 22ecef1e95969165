//! `list`: many jobs in a table.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::past::Past;
use super::screen::Screen;
use super::style::Tone;
use super::{table, text};
use crate::core::job::JobState;
use crate::core::time::UnixMillis;
use crate::record::JobRecord;
use crate::store::{JobFilter, JobSummary, Store};
use strum::IntoEnumIterator;

/// Jobs read at once.
const PAGE: u32 = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only jobs of which everything that is asked for is true are listed. --webhook and --text look at \
                  100,000 jobs at most, the newest of that state and time, and say where they stopped.\n\n\
                  Examples:\n  jobtrackd list --state failed --since 1d --text invalid-credentials\n  \
                  jobtrackd list --webhook billing --until 2026-11-22T15:04:05Z --json"
)]
pub(super) struct Args {
    /// Only jobs in this state
    #[arg(long, value_parser = states())]
    state: Option<JobState>,
    /// Only jobs that were enqueued then or later: how long ago (2h), or a time (2026-11-22T15:04:05Z)
    #[arg(
        long,
        value_name = "WHEN",
        visible_alias = "newer-than",
        allow_hyphen_values = true
    )]
    since: Option<Past>,
    /// Only jobs that were enqueued then or earlier: how long ago, or a time
    #[arg(
        long,
        value_name = "WHEN",
        visible_alias = "older-than",
        allow_hyphen_values = true
    )]
    until: Option<Past>,
    /// Only jobs that this webhook alone is told of, or that have an event for it
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Only jobs with this text in id, metadata, last error or failure; a to z in either case
    #[arg(long, value_parser = searchable, allow_hyphen_values = true)]
    text: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object per job
    #[arg(long)]
    json: bool,
}

fn states() -> impl TypedValueParser<Value = JobState> {
    let states = JobState::iter().map(JobState::as_str);
    PossibleValuesParser::new(states.collect::<Vec<_>>()).try_map(|word| {
        word.parse()
            .map_err(|_| format!("there is no state {word}"))
    })
}

/// Longest text that is searched for, in bytes.
const LONGEST_TEXT: usize = 1000;

fn searchable(text: &str) -> Result<String, String> {
    match text.len() {
        1..=LONGEST_TEXT => Ok(text.to_owned()),
        _ => Err(format!(
            "write 1 to {LONGEST_TEXT} bytes of text to look for"
        )),
    }
}

impl Args {
    fn filter(&self, now: UnixMillis) -> JobFilter {
        JobFilter {
            state: self.state,
            since: self.since.map(|past| past.before(now)),
            until: self.until.map(|past| past.before(now)),
            webhook: self.webhook.clone(),
            text: self.text.clone(),
            after: None,
            limit: 0,
        }
    }

    /// What is said when there is nothing to list.
    fn nothing(&self) -> String {
        let asked = [
            self.since.is_some().then_some("--since"),
            self.until.is_some().then_some("--until"),
            self.webhook.is_some().then_some("--webhook"),
            self.text.is_some().then_some("--text"),
        ];
        let mut asked: Vec<&str> = asked.into_iter().flatten().collect();
        match (self.state, asked.is_empty()) {
            (None, true) => "no jobs yet; hand one over with: jobtrackd enqueue ID".to_owned(),
            (Some(state), true) => format!("no job is {state}"),
            (state, false) => {
                asked.splice(0..0, state.map(|_| "--state"));
                format!("no job matches {}", asked.join(" and "))
            }
        }
    }
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let mut filter = args.filter(screen.view.now);
    let mut left = args.limit;
    let mut jobs: Vec<JobSummary> = Vec::new();
    let mut more = false;
    let mut stopped = None;
    while left > 0 && !screen.is_closed() {
        filter.limit = left.min(PAGE);
        let mut page = store.list(&filter).await?;
        more = page.more;
        if !more {
            stopped = store.search_end(&filter).await?;
        }
        left -= u32::try_from(page.jobs.len()).unwrap_or(left);
        filter.after = page
            .jobs
            .last()
            .map(|job| (job.row.created_at, job.row.id.clone()));
        if args.json {
            for job in &page.jobs {
                screen.json(&JobRecord::from(job))?;
            }
        } else {
            jobs.append(&mut page.jobs);
        }
        if !more {
            break;
        }
    }
    if !args.json {
        let view = screen.view;
        if jobs.is_empty() {
            screen.line(&view.paint(Tone::Dim, &args.nothing()));
        } else {
            screen.text(&table::jobs(&jobs, &view));
            if more {
                let note = format!("the newest {}; more with --limit N", jobs.len());
                screen.line(&view.paint(Tone::Dim, &note));
            }
        }
    }
    if let Some((at, _)) = stopped {
        // On standard error: what is on standard output stays what a program expects.
        let note = format!(
            "note: no job enqueued before {} was looked at; go on with: --until {}",
            text::moment(at),
            at.rfc3339()
        );
        screen.flush();
        super::note(&note);
    }
    Ok(())
}
