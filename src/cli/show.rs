//! `show`: everything about one job.

mod deliveries;
mod history;
mod json;
mod timeline;

use std::collections::HashSet;

use super::list::next_poll;
use super::screen::{Fact, Screen, Tone, View, facts};
use super::unknown::unknown;
use super::{steps, text};
use crate::core::delivery::WebhookName;
use crate::core::job::{JobId, JobState};
use crate::core::retention::Stage;
use crate::core::time::UnixMillis;
use crate::store::{
    JobDetail, JobRow, JobSummary, Jobs as _, Store, StoreError, WebhookHealth, Webhooks as _,
};

/// Columns of the names before the facts of a job.
const NAME_WIDTH: usize = 12;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    id: JobId,
    /// Print one JSON object with everything, the remote job unchanged
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

/// The job's webhook and all that have deliveries of it, with the health of each.
async fn webhooks(
    detail: &JobDetail,
    store: &Store,
) -> Result<Vec<(String, WebhookHealth)>, StoreError> {
    let own = detail.summary.row.webhook.as_deref();
    let of_deliveries = detail.deliveries.iter().map(|each| each.webhook.as_str());
    let mut webhooks = Vec::new();
    for name in distinct(own.into_iter().chain(of_deliveries)) {
        let health = store.webhook_health(&WebhookName::new(name)).await?;
        webhooks.push((name.to_owned(), health));
    }
    Ok(webhooks)
}

/// The names without repetitions, in order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// A job on one page: the head, the steps as a timeline, the deliveries, and the history.
fn page(detail: &JobDetail, webhooks: &[(String, WebhookHealth)], view: &View) -> String {
    let mut out = head(&detail.summary, view);
    let deleted = match detail.pruned {
        Some(Stage::Attempts) => Some("attempts"),
        Some(Stage::Events) => Some("events"),
        None | Some(Stage::Jobs) => None,
    };
    if let Some(what) = deleted {
        let note = format!("its {what} have reached their age and are deleted (retention.{what})");
        out.push_str(&format!("  {}\n", view.dim(&note)));
    }
    out.push('\n');
    out.push_str(&timeline::draw(detail, view));
    let deliveries = deliveries::draw(detail, webhooks, view);
    for part in [deliveries, history::draw(detail, view)] {
        if !part.is_empty() {
            out.push('\n');
            out.push_str(&part);
        }
    }
    out
}

fn head(job: &JobSummary, view: &View) -> String {
    let row = &job.row;
    let (symbol, tone) = steps::state_mark(row.state);
    let id = view.paint(Tone::Strong, row.id.as_str());
    let line = view.marked(tone, symbol, &id);
    let state = view.paint(tone, row.state.as_str());
    format!("{line}  {state}\n") + &facts(&facts_of(job, view), "  ", NAME_WIDTH, view)
}

fn facts_of(job: &JobSummary, view: &View) -> Vec<Fact> {
    let row = &job.row;
    let progress = &row.progress;
    let is_over = row.state.is_final();
    let outside = |text: &String| text::outside(text, text::TEXT_LIMIT);
    let (name, age) = match job.finished_at {
        Some(end) => {
            let took = text::brief(end.since(row.created_at));
            ("took", format!("{took}, ended {}", view.ago(end)))
        }
        None => {
            let age = text::brief(view.now.since(row.created_at));
            let at = text::moment(row.created_at);
            ("age", format!("{age}, enqueued {at}"))
        }
    };
    let waits = row.state == JobState::Pending && progress.polls == 0;
    let tone = if waits { Tone::Dim } else { Tone::Plain };
    let mut facts = vec![(name, age, Tone::Plain), ("polls", polls(row, view), tone)];
    if !is_over {
        facts.push(deadline(row.deadline_at, view));
    }
    if row.cancel_requested && !is_over {
        let note = "requested; a running daemon does it at once".to_owned();
        facts.push(("cancel", note, Tone::Warn));
    }
    let webhook = row.webhook.as_ref().map(|name| text::outside(name, 200));
    let webhook = webhook.unwrap_or_else(|| "all that subscribe".to_owned());
    facts.push(("webhook", webhook, Tone::Plain));
    let priority = (row.priority != 0).then(|| row.priority.to_string());
    let more = [
        ("priority", priority),
        ("url", row.url.as_ref().map(outside)),
        ("metadata", job.metadata.as_ref().map(outside)),
    ];
    let more = more.into_iter();
    facts.extend(more.filter_map(|(name, fact)| Some((name, fact?, Tone::Plain))));
    if let Some(error) = progress.last_error.as_ref().map(outside) {
        let (error, tone) = match progress.consecutive_errors {
            0 => (error, Tone::Dim),
            1 => (error, Tone::Warn),
            many => (format!("{error} ({many} in a row)"), Tone::Warn),
        };
        facts.push(("last error", error, tone));
    }
    facts
}

fn polls(row: &JobRow, view: &View) -> String {
    let progress = &row.progress;
    let mut fact = match progress.polls {
        0 => "none yet".to_owned(),
        polls => polls.to_string(),
    };
    if row.state.is_final() {
        return fact;
    }
    if let Some(last) = progress.last_polled_at.filter(|_| progress.polls > 0) {
        fact.push_str(&format!(", the last {}", view.ago(last)));
    }
    if !row.cancel_requested {
        let which = if progress.polls == 0 { "first" } else { "next" };
        let (when, _) = next_poll(row, view);
        fact.push_str(&format!(", the {which} {when}"));
    }
    fact
}

fn deadline(at: Option<UnixMillis>, view: &View) -> Fact {
    let (fact, tone) = match at.map(|at| (view.ahead(at), text::moment(at))) {
        Some((Some(left), at)) => (format!("{left}, {at}"), Tone::Plain),
        Some((None, at)) => (format!("passed, {at}"), Tone::Warn),
        None => (
            "polling.deadline after it was enqueued".to_owned(),
            Tone::Dim,
        ),
    };
    ("deadline", fact, tone)
}

#[cfg(test)]
mod tests;
