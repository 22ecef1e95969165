//! `webhook enable` and `webhook disable`.

use serde::Serialize;

use super::known;
use crate::cli::screen::Screen;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::store::Store;
use crate::webhook::WebhookSettings;

/// Longest reason, in bytes.
const REASON_BYTES: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What was disabled is sent in its order, with its whole schedule before it; challenges that have expired \
                  meanwhile are given up. A hold or a rest ends too, and what waits for its retry is sent at once. A daemon \
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

fn reason(text: &str) -> Result<String, String> {
    match text.len() {
        1..=REASON_BYTES => Ok(text.to_owned()),
        _ => Err(format!("write 1 to {REASON_BYTES} bytes")),
    }
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    state: &'static str,
    deliveries: u64,
}

pub(super) async fn enable(
    args: &EnableArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let name = known(&args.name, webhooks, store).await?;
    let mut deliveries = 0;
    loop {
        let page = store.enable_webhook(&name).await?;
        deliveries += page.deliveries;
        if page.is_last {
            break;
        }
    }
    if args.json {
        return screen.json(&Record {
            name: name.as_str(),
            state: "enabled",
            deliveries,
        });
    }
    let events = text::count(deliveries, "event");
    let line = format!("{name} is told again; {events} of those that were disabled will be sent");
    let mark = screen.view.paint(Tone::Good, "✓");
    screen.line(&format!("{mark} {line}"));
    if !webhooks.iter().any(|each| each.name == name) {
        crate::cli::note(&format!(
            "note: {name} is not in the configuration, so nothing is sent to it yet"
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
    let name = known(&args.name, webhooks, store).await?;
    let reason = match &args.reason {
        Some(reason) => format!("by an operator: {reason}"),
        None => "by an operator".to_owned(),
    };
    let mut deliveries = 0;
    loop {
        let page = store.disable_webhook(&name, &reason).await?;
        deliveries += page.deliveries;
        if page.is_last {
            break;
        }
    }
    if args.json {
        return screen.json(&Record {
            name: name.as_str(),
            state: "disabled",
            deliveries,
        });
    }
    let events = text::count(deliveries, "event");
    let line = format!(
        "{name} is told nothing until: jobtrackd webhook enable {name}; {events} will wait"
    );
    let mark = screen.view.paint(Tone::Good, "✓");
    screen.line(&format!("{mark} {line}"));
    Ok(())
}
