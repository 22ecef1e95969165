//! `webhook list`: those who are told, one line each.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use super::standing::{Standing, words};
use crate::cli::columns::{self, Cell};
use crate::cli::screen::{Screen, View};
use crate::cli::style::Tone;
use crate::cli::text;
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::store::{Store, WebhookCounts, WebhookHealth};
use crate::webhook::{WebhookSettings, shown_url};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Webhooks of the configuration, and those that are in it no more but have events waiting in the database. \
                  `given up` and `disabled` count among the latest 10,000 events."
)]
pub(super) struct Args {
    /// Print one JSON object per webhook
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    configured: bool,
    url: Option<String>,
    events: Option<Vec<&'static str>>,
    #[serde(flatten)]
    standing: Standing<'a>,
}

pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut names: BTreeMap<WebhookName, Option<&WebhookSettings>> = store
        .webhook_names()
        .await?
        .into_iter()
        .map(|name| (name, None))
        .collect();
    names.extend(webhooks.iter().map(|each| (each.name.clone(), Some(each))));
    if names.is_empty() && !args.json {
        let note = "no webhooks; write a [webhooks.NAME] section into the configuration";
        screen.line(&screen.view.paint(Tone::Dim, note));
        return Ok(());
    }
    let asked: Vec<WebhookName> = names.keys().cloned().collect();
    let figures = store.counts(&asked).await?;
    let mut rows = Vec::new();
    for (name, settings) in &names {
        let health = store.webhook_health(name).await?;
        let mine = figures.webhooks.iter().find(|each| each.name == *name);
        let view = screen.view;
        if args.json {
            screen.json(&Record {
                name: name.as_str(),
                configured: settings.is_some(),
                url: settings.and_then(|settings| settings.url.as_ref().map(place)),
                events: settings.map(types),
                standing: Standing::of(&health, mine, &view),
            })?;
        } else {
            rows.push(cells(name, *settings, &health, mine, &view));
        }
    }
    if !args.json {
        let headings = [
            "NAME", "STATE", "PENDING", "OLDEST", "GIVEN UP", "DISABLED", "URL", "",
        ];
        screen.text(&columns::table(&headings, &rows, &screen.view));
    }
    Ok(())
}

fn cells(
    name: &WebhookName,
    settings: Option<&WebhookSettings>,
    health: &WebhookHealth,
    figures: Option<&WebhookCounts>,
    view: &View,
) -> Vec<Cell> {
    let (state, more, tone) = words(health, view);
    let number = |number: Option<u64>| match number {
        Some(0) | None => (String::new(), Tone::Plain),
        Some(number) => (number.to_string(), Tone::Plain),
    };
    let oldest = figures.and_then(|figures| figures.oldest_pending);
    let url = match settings {
        Some(settings) => match &settings.url {
            Some(url) => (place(url), Tone::Plain),
            None => ("in a file".to_owned(), Tone::Dim),
        },
        None => ("not configured".to_owned(), Tone::Warn),
    };
    vec![
        (text::outside(name.as_str(), 64), Tone::Plain),
        (state.to_owned(), tone),
        number(figures.map(|figures| figures.pending)),
        (
            oldest.map_or(String::new(), |at| text::brief(view.now.since(at))),
            Tone::Plain,
        ),
        number(figures.map(|figures| figures.exhausted)),
        number(figures.map(|figures| figures.disabled)),
        url,
        (more, Tone::Dim),
    ]
}

/// A URL without what in it may be secret.
pub(super) fn place(url: &Url) -> String {
    text::outside(&shown_url(url), 200)
}

/// The types a webhook is told.
pub(super) fn types(settings: &WebhookSettings) -> Vec<&'static str> {
    settings
        .events
        .iter()
        .copied()
        .map(EventType::as_str)
        .collect()
}
