//! `replay`: events sent again, whatever became of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::columns;
use super::past::Past;
use super::screen::{Screen, View};
use super::style::Tone;
use super::{text, told};
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::store::{Replay, ReplayFilter, ReplayPage, Replayable, Store};

/// Most deliveries that one replay can be told to make.
const LARGEST_LIMIT: u64 = 1_000_000;

/// Deliveries that a dry run shows one by one.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each is sent with the id and the bytes it always had, in the original order, with its whole schedule before \
                  it; webhook-replay: true says what it is. Webhooks that never had an event are not told of it, those that \
                  are disabled are left alone. A daemon that is up begins at once.\n\nA replay that was broken off is gone on \
                  with by --resume.\n\nExamples:\n  jobtrackd replay --webhook billing --since 2h --failed-only --dry-run\n  \
                  jobtrackd replay --job 61723\n  jobtrackd replay --event evt_0f3a… --webhook billing"
)]
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
    /// What happened then or later: how long ago (2h), or a time (2026-11-22T15:04:05Z)
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    since: Option<Past>,
    /// What happened then or earlier: how long ago, or a time
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    until: Option<Past>,
    /// Events of this type only
    #[arg(long = "type", value_name = "TYPE", value_parser = told::types())]
    kind: Option<EventType>,
    /// Only what was given up (exhausted)
    #[arg(long)]
    failed_only: bool,
    /// At most this many deliveries, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=LARGEST_LIMIT))]
    limit: u64,
    /// Go on with a replay that was broken off; the latest one unless its number is given
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

/// What was, or would be, sent again.
#[derive(Default)]
struct Tally {
    deliveries: u64,
    /// By webhook and type.
    by_kind: BTreeMap<(WebhookName, &'static str), u64>,
    /// Left alone, by webhook.
    disabled: BTreeMap<WebhookName, u64>,
    first: Option<UnixMillis>,
    last: Option<UnixMillis>,
    shown: Vec<Replayable>,
}

#[derive(Serialize)]
struct Record<'a> {
    replay: Option<i64>,
    dry_run: bool,
    deliveries: u64,
    more: bool,
    first: Option<String>,
    last: Option<String>,
    by_type: Vec<KindRecord<'a>>,
    left_alone: &'a BTreeMap<WebhookName, u64>,
}

#[derive(Serialize)]
struct KindRecord<'a> {
    webhook: &'a str,
    r#type: &'a str,
    deliveries: u64,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    if args.dry_run {
        let filter = args.filter(screen.view.now)?;
        let (tally, more) = look(&filter, store).await?;
        return report(args, None, &tally, more, screen);
    }
    let replay = match args.resume {
        Some(number) => unfinished(number, store).await?,
        None => {
            let filter = args.filter(screen.view.now)?;
            begin(&filter, store).await?
        }
    };
    let id = replay.id;
    let before = replay.deliveries;
    let (tally, more) = send(replay, store).await?;
    if tally.deliveries + before == 0 {
        if let Some((webhook, _)) = tally.disabled.first_key_value() {
            bail!(
                "{webhook} is disabled; enable it first with: jobtrackd webhook enable {webhook}"
            );
        }
        if args.resume.is_none() {
            bail!("no delivery is like that; look for it with: jobtrackd deliveries");
        }
    }
    report(args, Some(id), &tally, more, screen)
}

impl Args {
    fn filter(&self, now: UnixMillis) -> anyhow::Result<ReplayFilter> {
        if self.event.is_none() && self.job.is_none() && self.since.is_none() {
            let usage =
                "--webhook needs --since, for example: jobtrackd replay --webhook NAME --since 2h";
            let error = clap::Error::raw(
                clap::error::ErrorKind::MissingRequiredArgument,
                format!("{usage}\n"),
            );
            return Err(error.into());
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

/// Begins a replay, unless the same thing is half done already.
async fn begin(filter: &ReplayFilter, store: &Store) -> anyhow::Result<Replay> {
    let same = |replay: &Replay| {
        let until = filter.until;
        let theirs = ReplayFilter {
            until,
            since: filter.since,
            ..replay.filter.clone()
        };
        theirs == *filter
    };
    if let Some(half) = store.unfinished_replays().await?.into_iter().find(same) {
        super::note(&format!(
            "note: replay {} of the same kind was broken off after {}; go on with it by: jobtrackd replay --resume {}",
            half.id,
            text::count(half.deliveries, "event"),
            half.id
        ));
    }
    Ok(store.begin_replay(filter).await?)
}

async fn unfinished(number: i64, store: &Store) -> anyhow::Result<Replay> {
    let mut unfinished = store.unfinished_replays().await?.into_iter();
    let found = unfinished.find(|replay| number == 0 || replay.id == number);
    found.context(match number {
        0 => "no replay was broken off".to_owned(),
        _ => format!("there is no replay {number} that was broken off"),
    })
}

/// Makes page after page pending, each in a transaction of its own.
async fn send(mut replay: Replay, store: &Store) -> anyhow::Result<(Tally, bool)> {
    let mut tally = Tally::default();
    loop {
        let mut page = store.replayable(&replay.filter, replay.reached).await?;
        let left = replay.filter.limit.saturating_sub(replay.deliveries);
        let more = shorten(&mut page, left);
        let made = store.replay(&replay, &page).await?;
        let Some(next) = made else {
            bail!("another program goes on with replay {} just now", replay.id);
        };
        tally.note(&page);
        replay = next;
        if page.is_last {
            return Ok((tally, more));
        }
    }
}

/// What a replay would send.
async fn look(filter: &ReplayFilter, store: &Store) -> anyhow::Result<(Tally, bool)> {
    let mut tally = Tally::default();
    let mut reached = 0;
    loop {
        let mut page = store.replayable(filter, reached).await?;
        let more = shorten(&mut page, filter.limit - tally.deliveries);
        tally.note(&page);
        reached = page.reached;
        if page.is_last {
            return Ok((tally, more));
        }
    }
}

/// Keeps a page within what is left; answers whether there was more.
fn shorten(page: &mut ReplayPage, left: u64) -> bool {
    let mut taken = 0;
    let end = page.deliveries.iter().position(|each| {
        taken += u64::from(!each.is_disabled);
        taken > left
    });
    let Some(end) = end else {
        return false;
    };
    page.deliveries.truncate(end);
    page.is_last = true;
    true
}

impl Tally {
    fn note(&mut self, page: &ReplayPage) {
        for delivery in &page.deliveries {
            if delivery.is_disabled {
                *self.disabled.entry(delivery.webhook.clone()).or_default() += 1;
                continue;
            }
            self.deliveries += 1;
            let key = (delivery.webhook.clone(), delivery.kind.as_str());
            *self.by_kind.entry(key).or_default() += 1;
            self.first = self.first.or(Some(delivery.created_at));
            self.last = Some(delivery.created_at);
            if self.shown.len() < SHOWN {
                self.shown.push(delivery.clone());
            }
        }
    }
}

fn report(
    args: &Args,
    id: Option<i64>,
    tally: &Tally,
    more: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    if args.json {
        let by_type = tally.by_kind.iter();
        return screen.json(&Record {
            replay: id,
            dry_run: args.dry_run,
            deliveries: tally.deliveries,
            more,
            first: tally.first.map(UnixMillis::rfc3339),
            last: tally.last.map(UnixMillis::rfc3339),
            by_type: by_type
                .map(|((webhook, kind), deliveries)| KindRecord {
                    webhook: webhook.as_str(),
                    r#type: kind,
                    deliveries: *deliveries,
                })
                .collect(),
            left_alone: &tally.disabled,
        });
    }
    let view = screen.view;
    if args.dry_run && !tally.shown.is_empty() {
        screen.text(&rows(&tally.shown, &view));
    }
    for ((webhook, kind), deliveries) in &tally.by_kind {
        let webhook = text::outside(webhook.as_str(), 64);
        screen.line(&format!("{deliveries} × {kind} → {webhook}"));
    }
    let verb = if args.dry_run {
        "would be sent again"
    } else {
        "will be sent again"
    };
    let span = match (tally.first, tally.last) {
        (Some(first), Some(last)) => {
            format!(", from {} to {}", text::moment(first), text::moment(last))
        }
        _ => String::new(),
    };
    let events = text::count(tally.deliveries, "event");
    let mark = view.paint(Tone::Good, if args.dry_run { "·" } else { "✓" });
    screen.line(&format!("{mark} {events} {verb}{span}"));
    for (webhook, left) in &tally.disabled {
        let webhook = text::outside(webhook.as_str(), 64);
        let events = text::count(*left, "event");
        let note = format!(
            "{events} of {webhook} left alone: it is disabled; jobtrackd webhook enable {webhook}"
        );
        screen.line(&view.paint(Tone::Warn, &note));
    }
    if more {
        let note = format!(
            "there are more; go on with --limit N, or with --since {}",
            tally.last.map_or(String::new(), UnixMillis::rfc3339)
        );
        screen.line(&view.paint(Tone::Dim, &note));
    }
    Ok(())
}

fn rows(deliveries: &[Replayable], view: &View) -> String {
    let headings = ["HAPPENED", "JOB", "TYPE", "WEBHOOK", "STATE", "EVENT"];
    let plain = |text: String| (text, Tone::Plain);
    let rows: Vec<_> = deliveries
        .iter()
        .map(|each| {
            vec![
                plain(text::moment(each.created_at)),
                plain(each.job_id.to_string()),
                plain(each.kind.to_string()),
                plain(text::outside(each.webhook.as_str(), 64)),
                (
                    each.state.as_str().to_owned(),
                    told::tone_of(each.state, false),
                ),
                plain(each.event_id.clone()),
            ]
        })
        .collect();
    columns::table(&headings, &rows, view)
}
