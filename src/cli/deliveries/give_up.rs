//! `deliveries give-up`: stops sending events.

use anyhow::bail;

use crate::cli::pages::every;
use crate::cli::screen::{Screen, Tone};
use crate::cli::text;
use crate::core::delivery::WebhookName;
use crate::core::text::nearest;
use crate::record::command::GiveUpRecord;
use crate::store::{Backlogs as _, Events as _, Page, Store, Unwanted, Webhooks as _};

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
    let unwanted = match (args.event.clone(), webhook.clone()) {
        (Some(event), None) => Unwanted::Event(event),
        (Some(event), Some(webhook)) => Unwanted::EventOf(event, webhook),
        (None, Some(webhook)) => Unwanted::AllOf(webhook),
        (None, None) => bail!("name an event"),
    };
    if let Some(event) = &args.event
        && !store.has_event(event).await?
    {
        bail!(
            "there is no event {}; find those that wait with: jobtrackd deliveries --state pending",
            text::outside(event, 64)
        );
    }
    let Page { deliveries, .. } = every(async || store.give_up(&unwanted).await).await?;
    if let Some(webhook) = webhook.filter(|_| deliveries == 0) {
        let names = store.webhook_names().await?;
        if !names.contains(&webhook) {
            let near = nearest(webhook.as_str(), names.iter().map(WebhookName::as_str));
            let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            let webhook = text::outside(webhook.as_str(), 64);
            bail!("a webhook {webhook} has no deliveries{near}");
        }
    }
    let record = GiveUpRecord {
        event_id: args.event.as_deref(),
        webhook: args.webhook.as_deref(),
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        vec![match deliveries {
            0 => view.marked(Tone::Dim, "·", "no such delivery waits to be sent"),
            1 => view.done("1 delivery given up"),
            many => view.done(&format!("{many} deliveries given up")),
        }]
    })
}
