//! `webhook list` and `webhook show`: webhooks with their health, and the latest attempts at one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::steer::NameArgs;
use crate::cli::screen::{Screen, Tone, View};
use crate::cli::table::{self, Cell, plain};
use crate::cli::text::{self, count, outside};
use crate::core::delivery::WebhookName;
use crate::core::health::Health;
use crate::core::time::millis;
use crate::operator::webhooks::{known, names_of};
use crate::record::StartedRecord;
use crate::record::webhook::{
    ConditionRecord, HealthWord, ListedWebhookRecord, SettingsRecord, WebhookRecord,
};
use crate::store::{
    Attempt, Attempts as _, Counting as _, Store, WebhookCounts, WebhookHealth, Webhooks as _,
};
use crate::webhook::{WebhookSettings, redacted_url};

/// Latest events whose attempts are searched for them.
const EVENTS: u32 = 10_000;

/// Attempts that are shown.
const ATTEMPTS: u32 = 10;

/// Longest name, and longest reason, error or answer that is shown, in characters.
const NAME_CHARS: usize = 64;
const TEXT_CHARS: usize = 200;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/webhook-list.txt").trim_end())]
pub(super) struct ListArgs {
    /// Print one JSON object per webhook
    #[arg(long)]
    json: bool,
}

/// A webhook in the database and the configuration.
struct Webhook<'a> {
    name: &'a WebhookName,
    settings: Option<&'a WebhookSettings>,
    health: &'a WebhookHealth,
    counts: Option<&'a WebhookCounts>,
}

pub(super) async fn list(
    args: &ListArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let view = screen.view;
    let stored = store.webhook_names().await?.into_iter();
    let mut names: BTreeMap<WebhookName, Option<&WebhookSettings>> =
        stored.map(|name| (name, None)).collect();
    names.extend(webhooks.iter().map(|each| (each.name.clone(), Some(each))));
    if names.is_empty() && !args.json {
        let nothing = "no webhooks; write a [webhooks.NAME] section into the configuration";
        screen.line(&view.dim(nothing));
        return Ok(());
    }
    let all: Vec<WebhookName> = names.keys().cloned().collect();
    let counts = store.counts(&all).await?.webhooks;
    let mut rows = Vec::new();
    for (name, settings) in names {
        let webhook = Webhook {
            name: &name,
            settings,
            health: &store.webhook_health(&name).await?,
            counts: counts.iter().find(|each| each.name == name),
        };
        if args.json {
            screen.json(&ListedWebhookRecord {
                name: name.as_str(),
                configured: settings.is_some(),
                url: settings.and_then(|settings| settings.url.as_ref().map(without_secrets)),
                events: settings.map(types),
                condition: webhook.condition(&view),
            })?;
        } else {
            rows.push(webhook.cells(&view));
        }
    }
    if !args.json {
        let headings = &[
            "NAME", "STATE", "PENDING", "OLDEST", "GIVEN UP", "DISABLED", "URL", "",
        ];
        screen.text(&table::rows(headings, rows, &view));
    }
    Ok(())
}

pub(super) async fn show(
    args: &NameArgs,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let view = screen.view;
    let name = &known(&args.name, names_of(webhooks), store).await?;
    let counts = store.counts(std::slice::from_ref(name)).await?;
    let webhook = Webhook {
        name,
        settings: webhooks.iter().find(|each| each.name == *name),
        health: &store.webhook_health(name).await?,
        counts: counts.webhooks.first(),
    };
    let attempts = store.latest_attempts(name, EVENTS, ATTEMPTS).await?;
    if args.json {
        return screen.json(&WebhookRecord {
            name: name.as_str(),
            settings: webhook.settings.map(settings_record),
            condition: webhook.condition(&view),
            attempts: attempts.iter().map(StartedRecord::from).collect(),
        });
    }
    for line in webhook.lines(&view) {
        screen.line(&line);
    }
    screen.line("");
    if attempts.is_empty() {
        screen.line(&view.dim("no attempts among those of the latest 10,000 events"));
        return Ok(());
    }
    let headings = &[
        "WHEN", "EVENT", "ATTEMPT", "TRIGGER", "TOOK", "STATUS", "SAID",
    ];
    let attempts = attempts.iter().map(|each| attempt_cells(each, &view));
    screen.text(&table::rows(headings, attempts, &view));
    Ok(())
}

impl<'a> Webhook<'a> {
    fn condition(&self, view: &View) -> ConditionRecord<'a> {
        ConditionRecord::new(self.health, self.counts, view.now)
    }

    /// Its health in one word with its tone, and a line of details.
    fn health(&self, view: &View) -> (Cell, String) {
        let failed = |failures: u32| format!("{} in a row", count(u64::from(failures), "failure"));
        let word = HealthWord::of(self.health, view.now);
        let paused_until = self.health.paused_until.filter(|until| *until > view.now);
        let (tone, more) = match (&self.health.disabled, paused_until, &self.health.health) {
            (Some((since, reason)), ..) => {
                let reason = outside(reason, TEXT_CHARS);
                (Tone::Bad, format!("{}: {reason}", view.ago(*since)))
            }
            (None, Some(until), _) => {
                let left = text::brief(until.since(view.now));
                (Tone::Warn, format!("asked for it, {left} more"))
            }
            (.., Health::Held(hold)) => {
                let next = view.ahead(hold.probe_at);
                let next = next.unwrap_or_else(|| "as soon as an event waits".to_owned());
                let since = text::brief(view.now.since(hold.since));
                let failures = failed(hold.failures);
                (
                    Tone::Warn,
                    format!("for {since}, {failures}; next probe {next}"),
                )
            }
            (.., Health::Ramping { allowed, .. }) => {
                let requests = count(u64::from(*allowed), "request");
                (Tone::Busy, format!("{requests} at once so far"))
            }
            (.., Health::Ready(failing)) if failing.failures == 0 => (Tone::Good, String::new()),
            (.., Health::Ready(failing)) => (Tone::Warn, failed(failing.failures)),
        };
        ((word.to_string(), tone), more)
    }

    /// Its line in the list.
    fn cells(&self, view: &View) -> Vec<Cell> {
        let (word, more) = self.health(view);
        let number = |of: fn(&WebhookCounts) -> u64| {
            let number = self.counts.map(of).filter(|number| *number > 0);
            plain(number.map_or(String::new(), |number| number.to_string()))
        };
        let oldest = self.counts.and_then(|counts| counts.oldest_pending);
        let url = match self.settings.map(|settings| &settings.url) {
            Some(Some(url)) => plain(without_secrets(url)),
            Some(None) => ("in a file".to_owned(), Tone::Dim),
            None => ("not configured".to_owned(), Tone::Warn),
        };
        vec![
            plain(outside(self.name.as_str(), NAME_CHARS)),
            word,
            number(|counts| counts.pending),
            plain(oldest.map_or(String::new(), |at| text::brief(view.now.since(at)))),
            number(|counts| counts.exhausted),
            number(|counts| counts.disabled),
            url,
            (more, Tone::Dim),
        ]
    }

    /// Its settings and its counts.
    fn lines(&self, view: &View) -> Vec<String> {
        let ((word, tone), more) = self.health(view);
        let name = outside(self.name.as_str(), NAME_CHARS);
        let (name, word) = (view.paint(Tone::Strong, &name), view.paint(tone, &word));
        let mut facts = match self.settings {
            None => vec![("not configured", "nothing is sent to it".to_owned())],
            Some(settings) => facts(settings),
        };
        if let Some(counts) = self.counts {
            let oldest = |at| format!(", the oldest {}", view.ago(at));
            let oldest = counts.oldest_pending.map_or(String::new(), oldest);
            facts.push(("pending", format!("{}{oldest}", counts.pending)));
            let (exhausted, disabled) = (counts.exhausted, counts.disabled);
            if exhausted + disabled > 0 {
                let lost = format!(
                    "{exhausted} given up, {disabled} disabled, of the latest 10,000 events"
                );
                facts.push(("not delivered", lost));
            }
        }
        let facts = facts
            .iter()
            .map(|(key, value)| format!("  {}{value}", text::pad(key, 16)));
        let head = format!("{name}  {word} {}", view.dim(&more));
        std::iter::once(head).chain(facts).collect()
    }
}

fn facts(settings: &WebhookSettings) -> Vec<(&'static str, String)> {
    let url = settings.url.as_ref().map(without_secrets);
    let timeout = text::brief(settings.timeout);
    let retry: Vec<String> = settings.retry.iter().copied().map(text::brief).collect();
    let headers: Vec<&str> = settings.headers.iter().map(|each| each.name()).collect();
    let limits = format!("{timeout} a request, {} at once", settings.max_in_flight);
    let mut facts = vec![
        ("url", url.unwrap_or_else(|| "in a file".to_owned())),
        ("events", types(settings).join(", ")),
        ("limits", limits),
        ("retry", retry.join(", ")),
    ];
    if !headers.is_empty() {
        facts.push(("own headers", headers.join(", ")));
    }
    let fallback = settings.fallback.as_ref();
    facts.extend(fallback.map(|fallback| ("fallback", fallback.to_string())));
    facts
}

fn settings_record(settings: &WebhookSettings) -> SettingsRecord<'_> {
    SettingsRecord {
        url: settings.url.as_ref().map(without_secrets),
        events: types(settings),
        timeout_ms: millis(settings.timeout),
        max_in_flight: settings.max_in_flight,
        retry_ms: settings.retry.iter().copied().map(millis).collect(),
        allow_private: settings.allow_private,
        headers: settings.headers.iter().map(|each| each.name()).collect(),
        fallback: settings.fallback.as_ref().map(WebhookName::as_str),
    }
}

fn without_secrets(url: &Url) -> String {
    outside(&redacted_url(url), TEXT_CHARS)
}

/// The types of events that are sent to it.
fn types(settings: &WebhookSettings) -> Vec<&'static str> {
    settings.events.iter().map(|kind| kind.as_str()).collect()
}

fn attempt_cells(attempt: &Attempt, view: &View) -> Vec<Cell> {
    let answer = attempt.answer.as_deref().unwrap_or_default();
    let (said, tone) = match attempt.error.as_deref() {
        Some(error) if answer.is_empty() => (error.to_owned(), Tone::Warn),
        Some(error) => (format!("{error}: {answer}"), Tone::Warn),
        None => (answer.to_owned(), Tone::Dim),
    };
    let took = Duration::from_millis(attempt.duration_ms);
    let status = attempt.status.map(|status| status.to_string());
    vec![
        plain(view.ago(attempt.started_at)),
        plain(&attempt.event_id),
        plain(format!("#{}", attempt.number)),
        plain(attempt.trigger.as_str()),
        plain(text::brief(took)),
        plain(status.as_deref().unwrap_or("-")),
        (outside(&said, TEXT_CHARS), tone),
    ]
}
