//! `webhook enable`, `webhook disable` and `webhook move`.

use crate::cli::screen::Screen;
use crate::core::delivery::WebhookName;
use crate::operator::webhooks::{self, names_of};
use crate::record::command::{MoveRecord, SwitchRecord};
use crate::store::Store;
use crate::webhook::WebhookSettings;

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
    #[arg(long, value_name = "TEXT", value_parser = webhooks::reason)]
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

pub(super) async fn enable(
    args: &NameArgs,
    configured: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = webhooks::known(&args.name, names_of(configured), store).await?;
    let deliveries = webhooks::enable(&name, store).await?;
    let record = SwitchRecord {
        name: name.as_str(),
        state: "enabled",
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        vec![view.done(&webhooks::enabled(&name, deliveries))]
    })?;
    if !args.json && !configured.iter().any(|each| each.name == name) {
        screen.note(&format!(
            "{name} is not in the configuration, so nothing is sent to it yet"
        ));
    }
    Ok(())
}

pub(super) async fn disable(
    args: &DisableArgs,
    configured: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = webhooks::known(&args.name, names_of(configured), store).await?;
    let deliveries = webhooks::disable(&name, args.reason.as_deref(), store).await?;
    let record = SwitchRecord {
        name: name.as_str(),
        state: "disabled",
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        vec![view.done(&webhooks::disabled(&name, deliveries))]
    })
}

pub(super) async fn hand_over(
    args: &MoveArgs,
    configured: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let configured = names_of(configured);
    let (from, to) = (WebhookName::new(&args.from), WebhookName::new(&args.to));
    let moved = webhooks::hand_over(&from, &to, &configured, store).await?;
    let record = MoveRecord {
        from: from.as_str(),
        to: to.as_str(),
        deliveries: moved.deliveries,
        jobs: moved.jobs,
    };
    screen.answer(args.json, &record, |view| {
        vec![view.done(&webhooks::handed_over(&from, &to, &moved))]
    })?;
    if configured.contains(&from) {
        screen.note(&webhooks::still_configured(&from));
    }
    Ok(())
}
