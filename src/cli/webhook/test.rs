//! `webhook test`: sends one signed sample, and shows the request and the answer.

use std::time::Duration;

use anyhow::{Context as _, bail};

use strum::IntoEnumIterator as _;

use crate::cli::options;
use crate::cli::screen::{Screen, Tone, View};
use crate::cli::session::database_file;
use crate::cli::text;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::core::answer::Cut;
use crate::core::delivery::AttemptResult;
use crate::core::event::EventType;
use crate::operator::test::{self, Tested};
use crate::operator::webhooks::{names_of, unknown};
use crate::record::command::{RequestRecord, TestRecord};
use crate::sockets::Sockets;
use crate::store::{Attempt, Attempts as _, Store, StoreError};
use crate::webhook::{Sender, WebhookSettings};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/webhook-test.txt").trim_end())]
pub(super) struct Args {
    /// The webhook
    #[arg(value_name = "NAME")]
    name: String,
    /// The type of the sample
    #[arg(long = "type", value_name = "TYPE", default_value = EventType::Test.as_str(), value_parser = options::words(EventType::iter(), EventType::as_str))]
    kind: EventType,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Sends the sample.
pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    database: &DatabaseSettings,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let Some(webhook) = webhooks.iter().find(|each| each.name.as_str() == args.name) else {
        return Err(unknown(&args.name, &names_of(webhooks)));
    };
    let sender = Sender::new(clock.clone(), webhooks, Sockets::default())
        .context("the request cannot be made")?;
    let Tested {
        request: shown,
        body,
        attempt,
        report,
    } = test::send(args.kind, webhook, &sender, &clock).await?;
    let recorded = record_test(&attempt, database, &clock).await;
    let mut screen = Screen::new(clock.now());
    let record = TestRecord {
        webhook: webhook.name.as_str(),
        event_id: &attempt.event_id,
        request: RequestRecord {
            line: &shown.line,
            headers: &shown.headers,
            body: &body,
        },
        status: attempt.status,
        error: attempt.error.clone(),
        duration_ms: attempt.duration_ms,
        answer: attempt.answer.as_deref(),
        answer_cut: attempt.answer_cut.map(Cut::as_str),
        delivered: matches!(report.result, AttemptResult::Delivered { .. }),
    };
    let printed = screen.answer(args.json, &record, |view| {
        lines(&record, test::meaning(&report), view)
    });
    printed.and(screen.finish())?;
    if let Err(error) = recorded {
        screen.note(&format!("the attempt was not recorded: {error}"));
    }
    match attempt.error {
        None => Ok(()),
        Some(error) => bail!("{} did not take the sample: {error}", webhook.name),
    }
}

/// Records the attempt where there is a database.
async fn record_test(
    attempt: &Attempt,
    database: &DatabaseSettings,
    clock: &Clock,
) -> Result<(), StoreError> {
    let store = Store::open(database_file(database), clock.clone()).await?;
    let recorded = store.record_test(attempt).await;
    store.leave().await;
    recorded
}

fn lines(record: &TestRecord<'_>, meaning: &str, view: &View) -> Vec<String> {
    let status = record.status.map(|status| status.to_string());
    let status = status.as_deref().unwrap_or("no answer");
    let tone = if record.delivered {
        Tone::Good
    } else {
        Tone::Bad
    };
    let took = text::brief(Duration::from_millis(record.duration_ms));
    let request = &record.request;
    let mut lines = vec![view.paint(Tone::Strong, request.line)];
    let headers = request.headers.iter();
    lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
    lines.extend([String::new(), request.body.to_owned(), String::new()]);
    lines.push(format!("{} after {took}", view.paint(tone, status)));
    lines.extend(record.answer.map(str::to_owned));
    let cut = record
        .answer_cut
        .map(|cut| format!("… not all of it: {cut}"));
    lines.extend(cut.map(|note| view.dim(&note)));
    lines.push(view.dim(meaning));
    lines
}
