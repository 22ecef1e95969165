//! `show`: everything known of one job.

mod json;

use super::screen::{Screen, View};
use super::steps;
use super::style::Tone;
use super::unknown::unknown;
use super::{deliveries, history, table, text, timeline};
use crate::core::delivery::WebhookName;
use crate::core::job::{JobId, JobState};
use crate::core::retention::Stage;
use crate::core::time::UnixMillis;
use crate::store::{JobDetail, JobSummary, Store, StoreError, WebhookHealth};

/// Columns of the names before the facts of a job.
const NAME_WIDTH: usize = 12;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    id: JobId,
    /// Print one JSON object with everything, the remote job as it came
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let Some(detail) = store.detail(&args.id).await? else {
        return Err(unknown(store, &args.id).await?);
    };
    let webhooks = webhooks(&detail, store).await?;
    if args.json {
        return json::print(&detail, &webhooks, store, screen).await;
    }
    let page = page(&detail, &webhooks, &screen.view);
    screen.text(&page);
    Ok(())
}

/// The webhook that the job is for, and those that are told of it, with what is remembered of each.
async fn webhooks(
    detail: &JobDetail,
    store: &Store,
) -> Result<Vec<(String, WebhookHealth)>, StoreError> {
    let mut names: Vec<&str> = detail.summary.row.webhook.as_deref().into_iter().collect();
    for delivery in &detail.deliveries {
        if !names.contains(&delivery.webhook.as_str()) {
            names.push(delivery.webhook.as_str());
        }
    }
    let mut webhooks = Vec::new();
    for name in names {
        let health = store.webhook_health(&WebhookName::new(name)).await?;
        webhooks.push((name.to_owned(), health));
    }
    Ok(webhooks)
}

/// A job on one page: the head, the steps as a timeline, the deliveries, and what happened in order.
fn page(detail: &JobDetail, webhooks: &[(String, WebhookHealth)], view: &View) -> String {
    let mut out = head(&detail.summary, view);
    let gone = match detail.pruned {
        None | Some(Stage::Jobs) => None,
        Some(Stage::Attempts) => {
            Some("its attempts have reached their age and are deleted (retention.attempts)")
        }
        Some(Stage::Events) => {
            Some("its events have reached their age and are deleted (retention.events)")
        }
    };
    if let Some(gone) = gone {
        out.push_str(&format!("  {}\n", view.paint(Tone::Dim, gone)));
    }
    out.push('\n');
    out.push_str(&timeline::draw(detail, view));
    for part in [
        deliveries::draw(detail, webhooks, view),
        history::draw(detail, view),
    ] {
        if !part.is_empty() {
            out.push('\n');
            out.push_str(&part);
        }
    }
    out
}

fn head(job: &JobSummary, view: &View) -> String {
    let row = &job.row;
    let tone = Tone::of_state(row.state);
    let mut out = format!(
        "{} {}  {}\n",
        view.paint(tone, steps::state_symbol(row.state)),
        view.paint(Tone::Strong, row.id.as_str()),
        view.paint(tone, row.state.as_str()),
    );
    for (name, fact, tone) in facts(job, view) {
        let mut before = text::pad(name, NAME_WIDTH);
        for line in text::wrap(&fact, view.width.saturating_sub(NAME_WIDTH + 2)) {
            out.push_str(&format!(
                "  {}{}\n",
                view.paint(Tone::Dim, &before),
                view.paint(tone, &line)
            ));
            before = " ".repeat(NAME_WIDTH);
        }
    }
    out
}

fn facts(job: &JobSummary, view: &View) -> Vec<(&'static str, String, Tone)> {
    let row = &job.row;
    let mut facts = Vec::new();
    match job.finished_at {
        Some(end) => {
            let took = text::brief(end.since(row.created_at));
            let ago = text::ago(view.now.since(end));
            facts.push(("took", format!("{took}, ended {ago}"), Tone::Plain));
        }
        None => {
            let age = text::brief(view.now.since(row.created_at));
            let enqueued = text::moment(row.created_at);
            facts.push(("age", format!("{age}, enqueued {enqueued}"), Tone::Plain));
        }
    }
    facts.push(polls(job, view));
    if !row.state.is_final() {
        facts.push(deadline(row.deadline_at, view));
    }
    if row.cancel_requested && !row.state.is_final() {
        let note = "requested; done at the daemon's next look".to_owned();
        facts.push(("cancel", note, Tone::Warn));
    }
    let only = row.webhook.as_deref();
    facts.push(match only {
        Some(name) => ("webhook", text::outside(name, 200), Tone::Plain),
        None => ("webhook", "all that subscribe".to_owned(), Tone::Plain),
    });
    if row.priority != 0 {
        facts.push(("priority", row.priority.to_string(), Tone::Plain));
    }
    if let Some(url) = &row.url {
        facts.push(("url", text::outside(url, text::TEXT_LIMIT), Tone::Plain));
    }
    if let Some(metadata) = &job.metadata {
        let metadata = text::outside(metadata, text::TEXT_LIMIT);
        facts.push(("metadata", metadata, Tone::Plain));
    }
    if let Some(error) = &row.progress.last_error {
        let error = text::outside(error, text::TEXT_LIMIT);
        facts.push(match row.progress.consecutive_errors {
            0 => ("last error", error, Tone::Dim),
            1 => ("last error", error, Tone::Warn),
            many => (
                "last error",
                format!("{error} ({many} in a row)"),
                Tone::Warn,
            ),
        });
    }
    facts
}

fn polls(job: &JobSummary, view: &View) -> (&'static str, String, Tone) {
    let row = &job.row;
    let mut fact = match row.progress.polls {
        0 => "none yet".to_owned(),
        polls => polls.to_string(),
    };
    if let (Some(last), true) = (
        row.progress.last_polled_at,
        row.progress.polls > 0 && !row.state.is_final(),
    ) {
        let ago = text::ago(view.now.since(last));
        fact.push_str(&format!(", the last {ago}"));
    }
    if !row.state.is_final() && !row.cancel_requested {
        let (when, _) = table::next_poll(row, view);
        let which = if row.progress.polls == 0 {
            "first"
        } else {
            "next"
        };
        fact.push_str(&format!(", the {which} {when}"));
    }
    let waits = row.state == JobState::Pending && row.progress.polls == 0;
    ("polls", fact, if waits { Tone::Dim } else { Tone::Plain })
}

fn deadline(at: Option<UnixMillis>, view: &View) -> (&'static str, String, Tone) {
    let name = "deadline";
    match at {
        Some(at) if at > view.now => {
            let left = text::brief(at.since(view.now));
            (
                name,
                format!("in {left}, {}", text::moment(at)),
                Tone::Plain,
            )
        }
        Some(at) => (name, format!("passed, {}", text::moment(at)), Tone::Warn),
        None => (
            name,
            "polling.deadline after it was enqueued".to_owned(),
            Tone::Dim,
        ),
    }
}

#[cfg(test)]
mod tests;
