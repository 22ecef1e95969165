//! `list`: many jobs in a table.

use strum::IntoEnumIterator as _;

use super::options;
use super::screen::{Screen, Tone, View};
use super::table::{self, Cell, Columns, plain};
use super::{steps, text};
use crate::core::job::JobState;
use crate::core::time::UnixMillis;
use crate::record::JobRecord;
use crate::store::{JobFilter, JobRow, JobSummary, Lists as _, Store};
use crate::words::When;

/// Jobs read at once.
const PAGE: u32 = 200;

/// Longest text that is searched for, in bytes.
const LONGEST_TEXT: usize = 1000;

/// The progress is cut first, and an id only when nothing else can be cut.
const COLUMNS: Columns<'_> = Columns {
    headings: &[
        "ID",
        "STATE",
        "STEPS",
        "AGE",
        "POLLS",
        "NEXT POLL",
        "LAST ERROR",
    ],
    ruled: true,
    numbers: &[3, 4],
    yields: &[
        (6, 20),
        (2, 20),
        (4, 0),
        (6, 0),
        (3, 0),
        (5, 0),
        (0, 36),
        (2, 5),
        (0, 12),
    ],
    regains: &[2, 6],
    ..Columns::PLAIN
};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/list.txt").trim_end())]
pub(super) struct Args {
    /// Only jobs in this state
    #[arg(long, value_parser = options::words(JobState::iter(), JobState::as_str))]
    state: Option<JobState>,
    /// Only jobs that were enqueued then or later: how long ago (2h), or a time (2026-11-22T15:04:05Z)
    #[arg(
        long,
        value_name = "WHEN",
        visible_alias = "newer-than",
        allow_hyphen_values = true
    )]
    since: Option<When>,
    /// Only jobs that were enqueued then or earlier: how long ago, or a time
    #[arg(
        long,
        value_name = "WHEN",
        visible_alias = "older-than",
        allow_hyphen_values = true
    )]
    until: Option<When>,
    /// Only jobs whose events go to this webhook alone, or that have an event for it
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

fn searchable(text: &str) -> Result<String, String> {
    match text.len() {
        1..=LONGEST_TEXT => Ok(text.to_owned()),
        _ => Err(format!(
            "write 1 to {LONGEST_TEXT} bytes of text to search for"
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
            ..JobFilter::default()
        }
    }

    /// What is printed when there is nothing to list.
    fn nothing(&self) -> String {
        let filters = [
            ("--state", self.state.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
            ("--webhook", self.webhook.is_some()),
            ("--text", self.text.is_some()),
        ];
        let set = filters.into_iter().filter(|(_, is_set)| *is_set);
        let (set, _): (Vec<&str>, Vec<bool>) = set.unzip();
        match (self.state, set.len()) {
            (_, 0) => "no jobs yet; enqueue one with: jobtrackd enqueue ID".to_owned(),
            (Some(state), 1) => format!("no job is {state}"),
            _ => format!("no job matches {}", set.join(" and ")),
        }
    }
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let mut filter = args.filter(screen.view.now);
    let mut left = args.limit;
    let mut jobs: Vec<JobSummary> = Vec::new();
    let (mut more, mut stopped) = (true, None);
    while more && left > 0 && !screen.is_closed() {
        filter.limit = left.min(PAGE);
        let mut page = store.list(&filter).await?;
        more = page.more;
        if !more {
            stopped = store.search_end(&filter).await?;
        }
        left -= u32::try_from(page.jobs.len()).unwrap_or(left);
        if let Some(last) = page.jobs.last() {
            filter.after = Some((last.row.created_at, last.row.id.clone()));
        }
        if args.json {
            for job in &page.jobs {
                screen.json(&JobRecord::from(job))?;
            }
        } else {
            jobs.append(&mut page.jobs);
        }
    }
    let view = screen.view;
    if !args.json && jobs.is_empty() {
        screen.line(&view.dim(&args.nothing()));
    } else if !args.json {
        screen.text(&draw(&jobs, &view));
        if more {
            let note = format!("the newest {}; more with --limit N", jobs.len());
            screen.line(&view.dim(&note));
        }
    }
    if let Some((at, _)) = stopped {
        let (moment, until) = (text::moment(at), at.rfc3339());
        screen.note(&format!(
            "no job enqueued before {moment} was searched; continue with: --until {until}"
        ));
    }
    Ok(())
}

/// The jobs as a table.
fn draw(jobs: &[JobSummary], view: &View) -> String {
    let cell = |job: &JobSummary, column, width| cell(job, column, width, view);
    table::draw(&COLUMNS, jobs, cell, view)
}

fn cell(job: &JobSummary, column: usize, width: usize, view: &View) -> Cell {
    let row = &job.row;
    match column {
        0 => plain(row.id.as_str()),
        1 => {
            let (symbol, tone) = steps::state_mark(row.state);
            (format!("{symbol} {}", row.state), tone)
        }
        2 => steps::progress(job, width),
        3 => plain(text::brief(view.now.since(row.created_at))),
        4 => plain(row.progress.polls.to_string()),
        5 => next_poll(row, view),
        _ => last_error(job),
    }
}

/// When a job is polled next: `in 12s`.
pub(super) fn next_poll(row: &JobRow, view: &View) -> Cell {
    if row.state.is_final() {
        return plain("");
    }
    if row.cancel_requested {
        return ("cancelling".to_owned(), Tone::Warn);
    }
    let wait = view.ahead(row.next_poll_at.max(row.not_before));
    plain(wait.unwrap_or_else(|| "due".to_owned()))
}

fn last_error(job: &JobSummary) -> Cell {
    let progress = &job.row.progress;
    match (&job.failure, &progress.last_error) {
        (Some(failure), _) => (steps::failure_line(failure), Tone::Bad),
        (None, Some(error)) => {
            let is_failing = progress.consecutive_errors > 0;
            let tone = if is_failing { Tone::Warn } else { Tone::Dim };
            (text::error(error), tone)
        }
        (None, None) => plain(""),
    }
}

#[cfg(test)]
mod tests;
