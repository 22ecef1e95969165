//! `deliveries`: who was told what, of all jobs.

mod give_up;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::columns::{self, Cell};
use super::screen::{Screen, View};
use super::style::Tone;
use super::text;
use crate::core::delivery::DeliveryState;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::store::{DeliveryFilter, ListedDelivery, Store};
use strum::IntoEnumIterator;

/// Looks at the table before it is said where they stopped; each goes through 10,000 events.
const LOOKS: usize = 10;

/// Longest error that is shown, in characters.
const ERROR_CHARS: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only deliveries of which everything that is asked for is true are listed, those of the newest events \
                  first. 100,000 events are looked at, and a note says where that ended.\n\nExamples:\n  jobtrackd \
                  deliveries --state exhausted --webhook billing\n  jobtrackd deliveries --job 61723 --json"
)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only deliveries in this state
    #[arg(long, value_parser = states())]
    state: Option<DeliveryState>,
    /// Only deliveries to this webhook
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Only deliveries of this job
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    job: Option<JobId>,
    /// Only deliveries of events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    kind: Option<EventType>,
    /// Go on with the events before this place; a note of an earlier list names it
    #[arg(long, value_name = "CURSOR")]
    before: Option<i64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object per delivery
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell nobody of an event any more, and go on with the next one
    GiveUp(give_up::Args),
}

fn states() -> impl TypedValueParser<Value = DeliveryState> {
    let states = DeliveryState::iter().map(DeliveryState::as_str);
    PossibleValuesParser::new(states.collect::<Vec<_>>()).try_map(|word| {
        word.parse()
            .map_err(|_| format!("there is no state {word}"))
    })
}

/// The types of events that belong to jobs.
pub(super) fn types() -> impl TypedValueParser<Value = EventType> {
    let names = EventType::iter().filter(|kind| *kind != EventType::Test);
    PossibleValuesParser::new(names.map(EventType::as_str).collect::<Vec<_>>())
        .try_map(|name| name.parse().map_err(|_| format!("there is no type {name}")))
}

#[derive(Serialize)]
struct Record<'a> {
    cursor: String,
    event_id: &'a str,
    job_id: &'a JobId,
    sequence: u32,
    r#type: &'a str,
    created_at: String,
    webhook: &'a str,
    state: &'static str,
    attempts: u32,
    next_attempt_at: Option<String>,
    delivered_at: Option<String>,
    expired_at: Option<String>,
    fallback_for: Option<&'a str>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
}

impl<'a> From<&'a ListedDelivery> for Record<'a> {
    fn from(listed: &'a ListedDelivery) -> Self {
        let delivery = &listed.delivery;
        let time = |at: Option<crate::core::time::UnixMillis>| at.map(|at| at.rfc3339());
        Self {
            cursor: listed.cursor.to_string(),
            event_id: &delivery.event_id,
            job_id: &listed.job_id,
            sequence: delivery.sequence,
            r#type: listed.kind.as_str(),
            created_at: listed.created_at.rfc3339(),
            webhook: delivery.webhook.as_str(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_attempt_at: time(delivery.next_attempt_at),
            delivered_at: time(delivery.delivered_at),
            expired_at: time(delivery.expired_at),
            fallback_for: delivery.fallback_for.as_deref(),
            last_status: delivery.last_status,
            last_error: delivery.last_error.as_deref(),
        }
    }
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    if let Some(Command::GiveUp(args)) = &args.command {
        return give_up::run(args, store, screen).await;
    }
    let mut filter = DeliveryFilter {
        state: args.state,
        webhook: args.webhook.clone(),
        job: args.job.clone(),
        kind: args.kind,
        before: args.before,
        limit: args.limit,
    };
    let mut listed: Vec<ListedDelivery> = Vec::new();
    let (mut stopped, mut unreadable) = (None, Vec::new());
    for _ in 0..LOOKS {
        let page = store.list_deliveries(&filter).await?;
        let found = page.deliveries.len() + page.unreadable.len();
        filter.limit = filter
            .limit
            .saturating_sub(u32::try_from(found).unwrap_or(u32::MAX));
        unreadable.extend(page.unreadable);
        listed.extend(page.deliveries);
        stopped = page.stopped;
        filter.before = page.stopped;
        if filter.limit == 0 || stopped.is_none() {
            break;
        }
    }
    for error in unreadable {
        super::note(&format!(
            "note: a delivery is left out: {}",
            text::outside(&error, ERROR_CHARS)
        ));
    }
    let view = screen.view;
    if args.json {
        for delivery in &listed {
            screen.json(&Record::from(delivery))?;
        }
    } else if listed.is_empty() {
        screen.line(&view.paint(Tone::Dim, "no such deliveries"));
    } else {
        screen.text(&draw(&listed, &view));
    }
    let full = listed.len() >= args.limit as usize;
    if full && !args.json {
        let note = format!("the newest {}; more with --limit N", listed.len());
        screen.line(&view.paint(Tone::Dim, &note));
    } else if let Some(before) = stopped.filter(|_| !full) {
        screen.flush();
        super::note(&format!(
            "note: older events were not looked at; go on with: --before {before}"
        ));
    }
    Ok(())
}

fn draw(listed: &[ListedDelivery], view: &View) -> String {
    let headings = [
        "AGE", "JOB", "EVENT", "WEBHOOK", "STATE", "ATTEMPTS", "NEXT", "LAST",
    ];
    let rows: Vec<Vec<Cell>> = listed.iter().map(|listed| cells(listed, view)).collect();
    columns::table(&headings, &rows, view)
}

fn cells(listed: &ListedDelivery, view: &View) -> Vec<Cell> {
    let delivery = &listed.delivery;
    let tone = tone_of(delivery.state, delivery.last_error.is_some());
    let state = match delivery.expired_at {
        Some(_) => format!("{} (expired)", delivery.state.as_str()),
        None => delivery.state.as_str().to_owned(),
    };
    let next = match (delivery.state, delivery.next_attempt_at) {
        (DeliveryState::Pending, Some(at)) if at > view.now => {
            format!("in {}", text::brief(at.since(view.now)))
        }
        (DeliveryState::Pending, Some(_)) => "due".to_owned(),
        (DeliveryState::Pending, None) => "waits".to_owned(),
        _ => String::new(),
    };
    let last = match (&delivery.last_error, delivery.last_status) {
        (Some(error), _) => text::outside(error, ERROR_CHARS),
        (None, Some(status)) => status.to_string(),
        (None, None) => String::new(),
    };
    let plain = |text: String| (text, Tone::Plain);
    vec![
        plain(text::brief(view.now.since(listed.created_at))),
        plain(listed.job_id.to_string()),
        plain(format!("#{} {}", delivery.sequence, listed.kind)),
        plain(text::outside(delivery.webhook.as_str(), 64)),
        (state, tone),
        plain(delivery.attempts.to_string()),
        plain(next),
        (
            last,
            if delivery.last_error.is_some() {
                tone
            } else {
                Tone::Dim
            },
        ),
    ]
}

/// The tone of a delivery.
pub(super) fn tone_of(state: DeliveryState, has_failed: bool) -> Tone {
    match state {
        DeliveryState::Delivered => Tone::Good,
        DeliveryState::Pending if has_failed => Tone::Warn,
        DeliveryState::Pending => Tone::Busy,
        DeliveryState::Exhausted => Tone::Bad,
        DeliveryState::Disabled => Tone::Dim,
    }
}
