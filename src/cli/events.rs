//! `events`: past events in the order of their commits, and new ones as they are committed.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{MissedTickBehavior, interval};

use super::screen::{Screen, Tone, View};
use super::watch::signals::{Request, Signals, output_is_closed};
use super::watch::{is_temporary, saw_commit};
use super::{options, text};
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::record::timeline::CommittedEventRecord;
use crate::store::sqlite::Watcher;
use crate::store::{
    EventFilter, Events as _, Intake as _, PAGE_BYTES, RecordedEvent, Store, Wakeups as _,
};

/// How often it is checked whether another process has committed.
const TICK: Duration = Duration::from_millis(100);

/// Events read at once.
const PAGE: u32 = 200;

/// Events that are shown by default.
const LATEST: u32 = 50;

/// Latest events that are searched for those of one type.
const SEARCHED: i64 = 10_000;

/// Longest detail of an event, in characters.
const DETAIL_CHARS: usize = 120;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/events.txt").trim_end())]
pub(super) struct Args {
    /// Continue with new events
    #[arg(long, short)]
    follow: bool,
    /// Begin after the event with this cursor
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = options::job_events())]
    kind: Option<EventType>,
    /// Only events of this job
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    job: Option<JobId>,
    /// At most this many [default: 50; no limit with --after or --follow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    // Watched before anything is read, so that no commit is missed in between.
    let mut watcher = store.watcher().await?;
    watcher.saw_commit().await?;
    let newest = store.newest_event().await?;
    let mut reader = Reader {
        args,
        store,
        after: match (args.after, args.follow) {
            (Some(after), _) => after,
            (None, true) => newest,
            (None, false) => first_of_latest(args, newest),
        },
        left: args.limit,
    };
    if args.after.is_none() && !args.follow {
        reader.left = None;
        return reader.latest(args.limit.unwrap_or(LATEST), screen).await;
    }
    if !args.follow {
        return reader.drain(screen).await.map(drop);
    }
    let signals = Signals::listen().context("the program cannot listen to signals")?;
    follow(&mut reader, &mut watcher, signals, screen).await
}

/// Where the search for the latest events begins.
fn first_of_latest(args: &Args, newest: i64) -> i64 {
    let wanted = i64::from(args.limit.unwrap_or(LATEST));
    match (&args.job, args.kind) {
        (Some(_), _) => 0,
        (None, Some(_)) => newest.saturating_sub(SEARCHED).max(0),
        (None, None) => newest.saturating_sub(wanted).max(0),
    }
}

struct Reader<'a> {
    args: &'a Args,
    store: &'a Store,
    /// The cursor of the last event that was read.
    after: i64,
    /// How many more are wanted; `None`: all.
    left: Option<u32>,
}

impl Reader<'_> {
    /// The next events, and whether they are the last.
    async fn page(&mut self) -> anyhow::Result<(Vec<RecordedEvent>, bool)> {
        let filter = EventFilter {
            after: self.after,
            kind: self.args.kind,
            job: self.args.job.clone(),
            limit: self.left.unwrap_or(PAGE).min(PAGE),
            bytes: PAGE_BYTES,
            detail: !self.args.json,
        };
        let page = self.store.events(&filter).await?;
        self.after = page.reached;
        Ok((page.events, page.complete))
    }

    /// Prints all events there are; `false` when enough were printed, or the reader has gone.
    async fn drain(&mut self, screen: &mut Screen) -> anyhow::Result<bool> {
        while self.left != Some(0) && !screen.is_closed() {
            let (events, complete) = self.page().await?;
            for event in &events {
                self.print(event, screen)?;
            }
            let printed = u32::try_from(events.len()).unwrap_or(u32::MAX);
            self.left = self.left.map(|left| left.saturating_sub(printed));
            if complete {
                return Ok(self.left != Some(0));
            }
        }
        Ok(false)
    }

    /// Prints the latest events.
    async fn latest(&mut self, wanted: u32, screen: &mut Screen) -> anyhow::Result<()> {
        let mut kept: Vec<RecordedEvent> = Vec::new();
        loop {
            let (events, complete) = self.page().await?;
            kept.extend(events);
            let surplus = kept.len().saturating_sub(wanted as usize);
            kept.drain(..surplus);
            if complete {
                break;
            }
        }
        for event in &kept {
            self.print(event, screen)?;
        }
        if kept.is_empty() && !self.args.json {
            screen.line(&screen.view.dim("no such events"));
        }
        Ok(())
    }

    fn print(&self, event: &RecordedEvent, screen: &mut Screen) -> anyhow::Result<()> {
        if self.args.json {
            return screen.json(&CommittedEventRecord::from(event));
        }
        screen.line(&line(event, &screen.view));
        Ok(())
    }
}

async fn follow(
    reader: &mut Reader<'_>,
    watcher: &mut Watcher,
    mut signals: Signals,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_new = true;
    loop {
        if std::mem::take(&mut is_new) {
            let goes_on = match reader.drain(screen).await {
                Err(error) if is_temporary(&error) => {
                    is_new = true;
                    true
                }
                drained => drained?,
            };
            screen.flush();
            if !goes_on || screen.is_closed() {
                return Ok(());
            }
        }
        tokio::select! {
            request = signals.next() => if request == Request::Stop {
                return Ok(());
            },
            _ = ticks.tick() => {}
        }
        if output_is_closed() {
            return Ok(());
        }
        is_new |= saw_commit(watcher).await?;
    }
}

/// An event in one line: time, cursor, job, number in the job, type, detail.
fn line(event: &RecordedEvent, view: &View) -> String {
    let tone = match event.kind {
        EventType::Completed => Tone::Good,
        EventType::Failed => Tone::Bad,
        EventType::ActionRequired | EventType::Delayed => Tone::Warn,
        _ => Tone::Plain,
    };
    let detail = event.detail.as_deref().unwrap_or_default();
    let detail = text::outside(detail, DETAIL_CHARS);
    let line = format!(
        "{}  {}  {}  #{} {}  {detail}",
        text::moment(event.created_at),
        view.paint(Tone::Dim, &event.cursor.to_string()),
        event.job_id,
        event.sequence,
        view.paint(tone, event.kind.as_str()),
    );
    line.trim_end().to_owned()
}
