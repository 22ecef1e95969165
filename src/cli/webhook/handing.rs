//! `webhook move`: what one webhook was not told is told to another.

use anyhow::bail;
use serde::Serialize;

use super::unknown;
use crate::cli::screen::Screen;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::core::delivery::WebhookName;
use crate::store::{Moved, Store};
use crate::webhook::WebhookSettings;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a webhook that has got another name, or is replaced. Its pending and disabled events go to NEW, job by \
                  job in order, each with its whole schedule before it; jobs that have not ended and name OLD name NEW from \
                  then on. A daemon that is up begins at once. OLD need not be in the configuration any more, NEW must be.\n\n\
                  Broken off in the middle, the same command finishes it."
)]
pub(super) struct Args {
    /// The webhook that is told no more
    #[arg(value_name = "OLD")]
    from: String,
    /// The webhook that is told instead
    #[arg(value_name = "NEW")]
    to: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    from: &'a str,
    to: &'a str,
    deliveries: u64,
    jobs: u64,
}

pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let configured: Vec<WebhookName> = webhooks.iter().map(|each| each.name.clone()).collect();
    let (from, to) = (WebhookName::new(&args.from), WebhookName::new(&args.to));
    if !configured.contains(&to) {
        return Err(unknown(&args.to, &configured));
    }
    if from == to {
        bail!("that is the same webhook");
    }
    let names = store.webhook_names().await?;
    let mut moved = Moved::default();
    while !moved.is_last {
        let page = store.move_deliveries(&from, &to).await?;
        moved = Moved {
            deliveries: moved.deliveries + page.deliveries,
            jobs: moved.jobs + page.jobs,
            is_last: page.is_last,
        };
    }
    let is_known = names.contains(&from) || configured.contains(&from);
    if moved.deliveries + moved.jobs == 0 && !is_known {
        return Err(unknown(&args.from, &names));
    }
    if args.json {
        screen.json(&Record {
            from: from.as_str(),
            to: to.as_str(),
            deliveries: moved.deliveries,
            jobs: moved.jobs,
        })?;
    } else {
        let mark = screen.view.paint(Tone::Good, "✓");
        let events = text::count(moved.deliveries, "event");
        let jobs = text::count(moved.jobs, "running job");
        let (from, to) = (text::outside(from.as_str(), 64), &to);
        screen.line(&format!(
            "{mark} {to} is told instead of {from}: {events}, {jobs}"
        ));
    }
    if configured.contains(&from) {
        crate::cli::note(&format!(
            "note: {from} is still in the configuration and is told what happens from now on"
        ));
    }
    Ok(())
}
