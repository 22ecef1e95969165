//! `replay`: sends events again, whether they were delivered or not.

use anyhow::Context as _;
use clap::error::ErrorKind;

use super::deliveries::note_left_out;
use super::options;
use super::screen::{Screen, Tone, View};
use super::table::{self, plain};
use super::{steps, text};
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::operator::replays::{self, Tally};
use crate::record::command::{ReplayRecord, ReplayedRecord};
use crate::store::{DeliveryRow, Replay, ReplayFilter, Replays as _, Store};
use crate::words::When;

/// Most deliveries of one replay.
const LARGEST_LIMIT: u64 = 1_000_000;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/replay.txt").trim_end())]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["event", "job", "webhook", "resume"])))]
pub(super) struct Args {
    /// This event
    #[arg(long, value_name = "ID", conflicts_with_all = ["job", "since", "until", "kind"])]
    event: Option<String>,
    /// All events of this job
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    job: Option<JobId>,
    /// To this webhook only; with --since all its events from then on
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Only events of then or later: how long ago (2h), or a time (2026-11-22T15:04:05Z)
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    since: Option<When>,
    /// Only events of then or earlier: how long ago, or a time
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    until: Option<When>,
    /// Events of this type only
    #[arg(long = "type", value_name = "TYPE", value_parser = options::job_events())]
    kind: Option<EventType>,
    /// Only deliveries that were given up (exhausted)
    #[arg(long)]
    failed_only: bool,
    /// At most this many deliveries, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=LARGEST_LIMIT))]
    limit: u64,
    /// Continue a replay that was interrupted; the latest one unless its number is given
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "0",
          conflicts_with_all = ["event", "job", "webhook", "since", "until", "kind", "failed_only", "dry_run"])]
    resume: Option<i64>,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let now = screen.view.now;
    if args.dry_run {
        let tally = replays::counted(&args.filter(now)?, now, store, usize::MAX).await?;
        note_left_out(&tally.unreadable, screen);
        return report(args, None, &tally, screen);
    }
    let replay = match args.resume {
        Some(number) => unfinished(number, store).await?,
        None => begin(&args.filter(now)?, store, screen).await?,
    };
    let (id, before) = (replay.id, replay.deliveries);
    let tally = replays::sent(replay, store).await?;
    note_left_out(&tally.unreadable, screen);
    tally.verdict(before, args.resume.is_none())?;
    report(args, Some(id), &tally, screen)
}

impl Args {
    fn filter(&self, now: UnixMillis) -> anyhow::Result<ReplayFilter> {
        if self.event.is_none() && self.job.is_none() && self.since.is_none() {
            let usage = "--webhook needs --since, for example: jobtrackd replay --webhook NAME --since 2h\n";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, usage).into());
        }
        Ok(ReplayFilter {
            event: self.event.clone(),
            job: self.job.as_ref().map(ToString::to_string),
            webhook: self.webhook.clone(),
            since: self.since.map(|past| past.before(now)),
            // What happens from now on is not sent twice.
            until: Some(self.until.map_or(now, |past| past.before(now))),
            kind: self.kind,
            failed_only: self.failed_only,
            limit: self.limit,
        })
    }
}

/// Begins a replay; a note says whether an interrupted one has the same conditions.
async fn begin(
    filter: &ReplayFilter,
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<Replay> {
    let is_same = |replay: &Replay| {
        let theirs = ReplayFilter {
            until: filter.until,
            since: filter.since,
            ..replay.filter.clone()
        };
        theirs == *filter
    };
    if let Some(half) = store.unfinished_replays().await?.into_iter().find(is_same) {
        let (id, events) = (half.id, text::count(half.deliveries, "event"));
        screen.note(&format!(
            "replay {id} with the same conditions was interrupted after {events}; continue it with: jobtrackd replay --resume {id}"
        ));
    }
    Ok(store.begin_replay(filter).await?)
}

async fn unfinished(number: i64, store: &Store) -> anyhow::Result<Replay> {
    let mut unfinished = store.unfinished_replays().await?.into_iter();
    let found = unfinished.find(|replay| number == 0 || replay.id == number);
    found.context(match number {
        0 => "no replay was interrupted".to_owned(),
        _ => format!("there is no replay {number} that was interrupted"),
    })
}

fn lines(tally: &Tally, dry_run: bool, view: &View) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for ((webhook, kind), deliveries) in &tally.by_kind {
        let webhook = text::outside(webhook.as_str(), 64);
        lines.push(format!("{deliveries} × {kind} → {webhook}"));
    }
    let (mark, verb) = match dry_run {
        true => ("·", "would be"),
        false => ("✓", "will be"),
    };
    lines.push(view.marked(Tone::Good, mark, &tally.sentence(verb)));
    lines.extend(tally.left_alone().map(|note| view.paint(Tone::Warn, &note)));
    if tally.more {
        let last = tally.last.map_or(String::new(), UnixMillis::rfc3339);
        let note = format!("there are more; continue with --limit N, or with --since {last}");
        lines.push(view.dim(&note));
    }
    lines
}

fn report(args: &Args, id: Option<i64>, tally: &Tally, screen: &mut Screen) -> anyhow::Result<()> {
    let by_kind = tally.by_kind.iter();
    let by_type = by_kind.map(|((webhook, kind), deliveries)| ReplayedRecord {
        webhook: webhook.as_str(),
        r#type: *kind,
        deliveries: *deliveries,
    });
    let record = ReplayRecord {
        replay: id,
        dry_run: args.dry_run,
        deliveries: tally.deliveries,
        more: tally.more,
        first: tally.first.map(UnixMillis::rfc3339),
        last: tally.last.map(UnixMillis::rfc3339),
        by_type: by_type.collect(),
        left_alone: &tally.disabled,
    };
    if args.dry_run && !args.json && !tally.shown.is_empty() {
        let table = table_of(&tally.shown, &screen.view);
        screen.text(&table);
    }
    screen.answer(args.json, &record, |view| lines(tally, args.dry_run, view))
}

fn table_of(deliveries: &[DeliveryRow], view: &View) -> String {
    let headings = &["HAPPENED", "JOB", "TYPE", "WEBHOOK", "STATE", "EVENT"];
    let rows = deliveries.iter().map(|each| {
        vec![
            plain(text::moment(each.created_at)),
            plain(each.job_id.as_str()),
            plain(each.kind.as_str()),
            plain(text::outside(each.webhook.as_str(), 64)),
            (
                each.state.as_str().to_owned(),
                steps::delivery_mark(each.state, false).1,
            ),
            plain(&each.event_id),
        ]
    });
    table::rows(headings, rows, view)
}
