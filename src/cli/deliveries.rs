//! `deliveries`: lists deliveries, and gives some up.

mod give_up;

use strum::IntoEnumIterator as _;

use super::screen::{Screen, Tone, View};
use super::table::{self, Cell, plain};
use super::{options, steps, text};
use crate::core::delivery::DeliveryState;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::record::ListedDeliveryRecord;
use crate::store::{Deliveries as _, DeliveryFilter, DeliveryRow, Store};

/// Most searches, each of 10,000 events; then it is printed where they stopped.
const SEARCHES: usize = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/deliveries.txt").trim_end())]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only deliveries in this state
    #[arg(long, value_parser = options::words(DeliveryState::iter(), DeliveryState::as_str))]
    state: Option<DeliveryState>,
    /// Only deliveries to this webhook
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Only deliveries of this job
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    job: Option<JobId>,
    /// Only deliveries of events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = options::job_events())]
    kind: Option<EventType>,
    /// Continue before this cursor, which a note of an earlier list names
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
    /// Give up an event: stop sending it, and continue with the next one
    GiveUp(give_up::Args),
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
    let mut listed: Vec<DeliveryRow> = Vec::new();
    let (mut stopped, mut unreadable) = (None, Vec::new());
    for _ in 0..SEARCHES {
        let page = store.list_deliveries(&filter).await?;
        let found = page.deliveries.len() + page.unreadable.len();
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        filter.limit = filter.limit.saturating_sub(found);
        unreadable.extend(page.unreadable);
        listed.extend(page.deliveries);
        stopped = page.stopped;
        filter.before = page.stopped;
        if filter.limit == 0 || stopped.is_none() {
            break;
        }
    }
    note_left_out(&unreadable, screen);
    print(args.json, &listed, screen)?;
    let view = screen.view;
    let full = listed.len() >= args.limit as usize;
    if full && !args.json {
        let note = format!("the newest {}; more with --limit N", listed.len());
        screen.line(&view.dim(&note));
    } else if let Some(before) = stopped.filter(|_| !full) {
        screen.note(&format!(
            "older events were not searched; continue with: --before {before}"
        ));
    }
    Ok(())
}

/// Notes why deliveries that cannot be read are left out.
pub(super) fn note_left_out(unreadable: &[String], screen: &mut Screen) {
    for error in unreadable {
        let error = text::error(error);
        screen.note(&format!("a delivery is left out: {error}"));
    }
}

fn print(json: bool, listed: &[DeliveryRow], screen: &mut Screen) -> anyhow::Result<()> {
    let view = screen.view;
    if json {
        for delivery in listed {
            screen.json(&ListedDeliveryRecord::from(delivery))?;
        }
    } else if listed.is_empty() {
        screen.line(&view.dim("no such deliveries"));
    } else {
        let headings = &[
            "AGE", "JOB", "EVENT", "WEBHOOK", "STATE", "ATTEMPTS", "NEXT", "LAST",
        ];
        let rows = listed.iter().map(|each| cells(each, &view));
        screen.text(&table::rows(headings, rows, &view));
    }
    Ok(())
}

fn cells(delivery: &DeliveryRow, view: &View) -> Vec<Cell> {
    let (_, tone) = steps::delivery_mark(delivery.state, delivery.last_error.is_some());
    let expired = delivery.expired_at.map_or("", |_| " (expired)");
    let next = match (delivery.state, delivery.next_attempt_at) {
        (DeliveryState::Pending, Some(at)) => view.ahead(at).unwrap_or_else(|| "due".to_owned()),
        (DeliveryState::Pending, None) => "waits".to_owned(),
        _ => String::new(),
    };
    let last = match (&delivery.last_error, delivery.last_status) {
        (Some(error), _) => (text::error(error), tone),
        (None, Some(status)) => (status.to_string(), Tone::Dim),
        (None, None) => plain(""),
    };
    vec![
        plain(text::brief(view.now.since(delivery.created_at))),
        plain(delivery.job_id.as_str()),
        plain(format!("#{} {}", delivery.sequence, delivery.kind)),
        plain(text::outside(delivery.webhook.as_str(), 64)),
        (format!("{}{expired}", delivery.state.as_str()), tone),
        plain(delivery.attempts.to_string()),
        plain(next),
        last,
    ]
}
