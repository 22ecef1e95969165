//! `deliveries give-up`: events that nobody is to be told of any more.

use anyhow::bail;
use serde::Serialize;

use crate::cli::screen::Screen;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::core::delivery::WebhookName;
use crate::core::enqueue::nearest_name;
use crate::store::{Store, Unwanted};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It becomes exhausted, and the job's next event is sent at once, also by a daemon that is up; a request under \
                  way may still arrive. No fallback is told. What is given up can be sent again by: jobtrackd replay --event \
                  EVENT\n\nExamples:\n  jobtrackd deliveries give-up evt_0f3a… --webhook billing\n  jobtrackd deliveries \
                  give-up --all --webhook gone"
)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["event", "all"])))]
pub(super) struct Args {
    /// The event
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    /// Only for this webhook; also what is disabled
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Everything this webhook was not told yet
    #[arg(long, requires = "webhook")]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    event_id: Option<&'a str>,
    webhook: Option<&'a str>,
    deliveries: u64,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let webhook = args.webhook.as_deref().map(WebhookName::new);
    let unwanted = match (args.event.clone(), webhook) {
        (Some(event), None) => Unwanted::Event(event),
        (Some(event), Some(webhook)) => Unwanted::EventOf(event, webhook),
        (None, Some(webhook)) => Unwanted::AllOf(webhook),
        (None, None) => bail!("say which event"),
    };
    if let Some(event) = &args.event
        && !store.has_event(event).await?
    {
        bail!(
            "there is no event {}; find those that wait with: jobtrackd deliveries --state pending",
            text::outside(event, 64)
        );
    }
    let mut deliveries = 0;
    loop {
        let page = store.give_up(&unwanted).await?;
        deliveries += page.deliveries;
        if page.is_last {
            break;
        }
    }
    if let Some(webhook) = args.webhook.as_deref().filter(|_| deliveries == 0) {
        let names = store.webhook_names().await?;
        if !names.contains(&WebhookName::new(webhook)) {
            let near = nearest_name(webhook, names.iter().map(WebhookName::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            let webhook = text::outside(webhook, 64);
            bail!("a webhook {webhook} has no deliveries{near}");
        }
    }
    if args.json {
        return screen.json(&Record {
            event_id: args.event.as_deref(),
            webhook: args.webhook.as_deref(),
            deliveries,
        });
    }
    let (mark, tone) = match deliveries {
        0 => ("·", Tone::Dim),
        _ => ("✓", Tone::Good),
    };
    let said = match deliveries {
        0 => "nothing of that waits to be told".to_owned(),
        1 => "1 delivery given up".to_owned(),
        many => format!("{many} deliveries given up"),
    };
    let mark = screen.view.paint(tone, mark);
    screen.line(&format!("{mark} {said}"));
    Ok(())
}
