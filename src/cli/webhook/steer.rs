//! `webhook enable`, `webhook disable` and `webhook move`.

use anyhow::bail;

use crate::cli::pages::every;
use crate::cli::screen::Screen;
use crate::cli::text::{count, outside};
use crate::cli::unknown::{known_webhook, names_of, unknown_webhook};
use crate::core::delivery::WebhookName;
use crate::record::command::{MoveRecord, SwitchRecord};
use crate::store::{Backlogs as _, Page, Store, Webhooks as _};
use crate::webhook::WebhookSettings;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct NameArgs {
    /// The webhook
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/webhook-disable.txt").trim_end())]
pub(super) struct DisableArgs {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// The reason, which is shown with the webhook
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/webhook-move.txt").trim_end())]
pub(super) struct MoveArgs {
    /// The webhook that has the events
    #[arg(value_name = "OLD")]
    from: String,
    /// The webhook that gets them
    #[arg(value_name = "NEW")]
    to: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        1..=REASON_BYTES => Ok(text.to_owned()),
        _ => Err(format!("write 1 to {REASON_BYTES} bytes")),
    }
}

pub(super) async fn enable(
    args: &NameArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = known_webhook(&args.name, webhooks, store).await?;
    let Page { deliveries, .. } = every(async || store.enable_webhook(&name).await).await?;
    let record = SwitchRecord {
        name: name.as_str(),
        state: "enabled",
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        let events = count(deliveries, "event");
        vec![view.done(&format!(
            "{name} is enabled; {events} of those that were disabled will be sent"
        ))]
    })?;
    if !args.json && !webhooks.iter().any(|each| each.name == name) {
        screen.note(&format!(
            "{name} is not in the configuration, so nothing is sent to it yet"
        ));
    }
    Ok(())
}

pub(super) async fn disable(
    args: &DisableArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = known_webhook(&args.name, webhooks, store).await?;
    let why = args.reason.as_ref().map(|reason| format!(": {reason}"));
    let reason = format!("by an operator{}", why.unwrap_or_default());
    let disabled = every(async || store.disable_webhook(&name, &reason).await).await?;
    let record = SwitchRecord {
        name: name.as_str(),
        state: "disabled",
        deliveries: disabled.deliveries,
    };
    screen.answer(args.json, &record, |view| {
        let events = count(disabled.deliveries, "event");
        vec![view.done(&format!(
            "nothing is sent to {name} until: jobtrackd webhook enable {name}; {events} will wait"
        ))]
    })
}

pub(super) async fn hand_over(
    args: &MoveArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let configured = names_of(webhooks);
    let (from, to) = (WebhookName::new(&args.from), WebhookName::new(&args.to));
    if !configured.contains(&to) {
        return Err(unknown_webhook(&args.to, &configured));
    }
    if from == to {
        bail!("that is the same webhook");
    }
    let names = store.webhook_names().await?;
    let moved = every(async || store.move_deliveries(&from, &to).await).await?;
    let is_known = names.contains(&from) || configured.contains(&from);
    if moved.deliveries + moved.jobs == 0 && !is_known {
        return Err(unknown_webhook(&args.from, &names));
    }
    let record = MoveRecord {
        from: from.as_str(),
        to: to.as_str(),
        deliveries: moved.deliveries,
        jobs: moved.jobs,
    };
    screen.answer(args.json, &record, |view| {
        let (events, jobs) = (
            count(moved.deliveries, "event"),
            count(moved.jobs, "running job"),
        );
        let from = outside(from.as_str(), 64);
        vec![view.done(&format!("{to} takes the place of {from}: {events}, {jobs}"))]
    })?;
    if configured.contains(&from) {
        screen.note(&format!(
            "{from} is still in the configuration and gets new events"
        ));
    }
    Ok(())
}
