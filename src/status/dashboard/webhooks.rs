//! All webhooks: health, backlog, where they are.

use std::collections::BTreeSet;

use maud::html;

use super::marks::{View, health, webhook_link};
use super::overview::grouped;
use super::page::{Page, Section, empty};
use crate::core::delivery::WebhookName;
use crate::record::webhook::HealthWord;
use crate::status::Parts;
use crate::status::refusal::Refusal;
use crate::store::Webhooks as _;
use crate::webhook::redacted_url;
use crate::words::outside;

/// Most webhooks that are listed.
const MOST: usize = 200;

pub(super) async fn page(parts: &Parts, view: &View) -> Result<Page, Refusal> {
    let counted = parts.figures.soon(parts).await;
    let receivers = parts.receivers.borrow().clone();
    let stored = parts.store.webhook_names().await;
    let stored = stored.map_err(|error| Refusal::unreadable(&error))?;
    let mut names: BTreeSet<WebhookName> = stored.into_iter().collect();
    names.extend(receivers.iter().map(|each| each.webhook.name.clone()));
    let (mut rows, hidden) = (Vec::new(), names.len().saturating_sub(MOST));
    let is_unknown = |name: &WebhookName| receivers.iter().all(|each| each.webhook.name != *name);
    // Rows may name anything: those of the configuration come first.
    let mut names: Vec<WebhookName> = names.into_iter().collect();
    names.sort_by_key(is_unknown);
    for name in names.into_iter().take(MOST) {
        let state = parts.store.webhook_health(&name).await;
        let state = state.map_err(|error| Refusal::unreadable(&error))?;
        let counted = counted.as_ref().and_then(|counted| counted.of(&name));
        let settings = receivers
            .iter()
            .find(|each| each.webhook.name == name)
            .map(|each| &each.webhook);
        let url = settings.map(|settings| settings.url.as_ref().map(redacted_url));
        rows.push(html! { tr data-webhook=(name) {
            td data-label="Webhook" { (webhook_link(name.as_str())) }
            td data-label="Health" { (health(HealthWord::of(&state, view.now))) }
            td.number data-label="Pending" { @if let Some(counted) = counted { (grouped(counted.pending)) } @else { "–" } }
            td data-label="Oldest" { @if let Some(at) = counted.and_then(|counted| counted.oldest_pending) { (view.ago(at)) } }
            td.number data-label="Given up" { @if let Some(counted) = counted { (grouped(counted.exhausted)) } }
            td data-label="Address" { @match url {
                Some(Some(url)) => code { (outside(&url, 200)) },
                Some(None) => span.dim { "in a file" },
                None => span data-tone="warn" { "not configured" },
            } }
        } });
    }
    let mut page = Page::new(Section::Webhooks, "Webhooks");
    let list = html! {
        @if rows.is_empty() {
            (empty("No webhook is configured.", &html! { "Events are kept and sent nowhere. Write a " code { "[webhooks.NAME]" } " section into the configuration and run " code { "systemctl reload jobtrackd" } "." }))
        } @else { div.scroll { table.cards {
            thead { tr { th scope="col" { "Webhook" } th scope="col" { "Health" } th.number scope="col" { "Pending" }
                th scope="col" { "Oldest" } th.number scope="col" { "Given up" } th scope="col" { "Address" } } }
            tbody { @for row in &rows { (row) } }
        } }
        @if hidden > 0 { p data-tone="warn" { (hidden) " more that only rows name, and no configuration." } }
        p.dim { "Pending events are counted every few seconds; those given up among the latest 10,000." } }
    };
    page.part("webhooks", &list);
    Ok(page)
}
