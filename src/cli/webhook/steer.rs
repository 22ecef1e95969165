//! `webhook enable`, `webhook disable` and `webhook move`.

use anyhow::bail;

use crate::cli::pages::every;
use crate::cli::screen::Screen;
use crate::cli::text::{count, outside};
use crate::cli::unknown::{known_webhook, names_of, unknown_webhook};
use crate::core::delivery::WebhookName;
use crate::record::command::{MoveRecord, SwitchRecord};
use crate::store::{Page, Store};
use crate::webhook::WebhookSettings;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What was disabled is sent in its order, with its whole schedule before it; challenges that have expired \
                  meanwhile are given up. A hold or a pause ends too, and what waits for its retry is sent at once. A daemon \
                  that is up begins at once.\n\nBroken off in the middle the webhook is still disabled; the same command \
                  finishes it."
)]
pub(super) struct EnableArgs {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is sent to it from now on, also by a daemon that is up; a request under way may still arrive. What \
                  happens meanwhile waits for: jobtrackd webhook enable NAME"
)]
pub(super) struct DisableArgs {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for those who find it disabled
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a webhook that has got another name, or is replaced. Its pending and disabled events go to NEW, job by \
                  job in order, each with its whole schedule before it; jobs that have not ended and name OLD name NEW from \
                  then on. A daemon that is up begins at once. OLD need not be in the configuration any more, NEW must be.\n\n\
                  Broken off in the middle, the same command finishes it."
)]
pub(super) struct MoveArgs {
    /// The webhook that events are taken from
    #[arg(value_name = "OLD")]
    from: String,
    /// The webhook that they are sent to instead
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
    args: &EnableArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = known_webhook(&args.name, webhooks, store).await?;
    let deliveries = every(async || store.enable_webhook(&name).await).await?;
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
    let reason = args
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    let reason = format!("by an operator{reason}");
    let deliveries = every(async || store.disable_webhook(&name, &reason).await).await?;
    let record = SwitchRecord {
        name: name.as_str(),
        state: "disabled",
        deliveries,
    };
    screen.answer(args.json, &record, |view| {
        let events = count(deliveries, "event");
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
    let mut moved = Page::default();
    while !moved.is_last {
        let page = store.move_deliveries(&from, &to).await?;
        moved.deliveries += page.deliveries;
        moved.jobs += page.jobs;
        moved.is_last = page.is_last;
    }
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
            "{from} is still in the configuration and gets what happens from now on"
        ));
    }
    Ok(())
}
