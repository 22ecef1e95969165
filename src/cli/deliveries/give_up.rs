//! `deliveries give-up`: stops sending events.

use anyhow::bail;

use crate::cli::screen::{Screen, Tone};
use crate::core::delivery::WebhookName;
use crate::operator::webhooks;
use crate::record::command::GiveUpRecord;
use crate::store::{Store, Unwanted};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/give-up.txt").trim_end())]
#[command(group(clap::ArgGroup::new("what").required(true).args(["event", "all"])))]
pub(super) struct Args {
    /// The event
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    /// Only for this webhook; its disabled deliveries too
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Everything that was not delivered to this webhook
    #[arg(long, requires = "webhook")]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let webhook = args.webhook.as_deref().map(WebhookName::new);
    let unwanted = match (args.event.clone(), webhook) {
        (Some(event), None) => Unwanted::Event(event),
        (Some(event), Some(webhook)) => Unwanted::EventOf(event, webhook),
        (None, Some(webhook)) => Unwanted::AllOf(webhook),
        (None, None) => bail!("name an event"),
    };
    let deliveries = webhooks::give_up(&unwanted, store).await?;
    let record = GiveUpRecord {
        event_id: args.event.as_deref(),
        webhook: args.webhook.as_deref(),
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        let line = webhooks::given_up(deliveries);
        vec![match deliveries {
            0 => view.marked(Tone::Dim, "·", &line),
            _ => view.done(&line),
        }]
    })
}
