//! What one form each does: to a job, to a webhook, to the deliveries of an event.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;

use super::form::{Fields, act, local, sentence, stored};
use super::marks::webhook_path;
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::core::text::printable;
use crate::mfa::{Answers, Refused};
use crate::operator::{test as sample, webhooks};
use crate::status::Parts;
use crate::status::access::Operator;
use crate::status::mfa::relay;
use crate::status::query::Job;
use crate::status::refusal::Refusal;
use crate::store::{Attempts as _, Jobs as _, NewJob, Unwanted};
use crate::words::moment;

/// Most characters of the API's answer to answers that are shown.
const SAID: usize = 200;

type Who = Extension<Operator>;

fn page_of(id: &JobId) -> String {
    format!("/dashboard/jobs/{id}")
}

/// What came of a request that a job of this id may not have had.
fn requested(found: Option<bool>, id: &JobId, done: &str) -> Result<String, String> {
    match found {
        Some(true) => Ok(format!("Job {id} {done}.")),
        Some(false) => Err(format!("Job {id} has ended already.")),
        None => Err(format!("There is no job {id}.")),
    }
}

pub(super) async fn poll(
    State(parts): State<Parts>,
    Extension(who): Who,
    Job(id): Job,
) -> Result<Response, Refusal> {
    let target = ("poll now", id.to_string());
    act(
        &parts,
        &who,
        target,
        page_of(&id),
        async move |parts: Parts| {
            let found = parts.store.request_poll(&id).await.map_err(stored)?;
            requested(found, &id, "is polled now")
        },
    )
    .await
}

pub(super) async fn cancel(
    State(parts): State<Parts>,
    Extension(who): Who,
    Job(id): Job,
) -> Result<Response, Refusal> {
    let target = ("cancel", id.to_string());
    act(
        &parts,
        &who,
        target,
        page_of(&id),
        async move |parts: Parts| {
            let found = parts.store.request_cancel(&id).await.map_err(stored)?;
            requested(found, &id, "will be cancelled")
        },
    )
    .await
}

/// Relays a user's answers. Neither the history nor the log has them.
pub(super) async fn answer(
    State(parts): State<Parts>,
    Extension(who): Who,
    Job(id): Job,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = Fields::read(&body);
    drop(body);
    let (late, shown) = (fields.is_set("late"), fields.owned("challenge"));
    let mut answers = fields.all("answer");
    // A challenge that only wants to be confirmed has one field, which may stay empty.
    if let [only] = answers.as_slice()
        && only.trim().is_empty()
    {
        answers.clear();
    }
    let reserved = parts.budget.relay().await?;
    let target = ("answer a challenge", id.to_string());
    act(
        &parts,
        &who,
        target,
        page_of(&id),
        async move |parts: Parts| {
            let _reserved = reserved;
            let answers = Answers::new(answers).map_err(|error| error.to_string())?;
            let relayed = relay(&parts, &id, &answers, late, shown.as_deref()).await;
            let relayed = relayed.map_err(|refused| match refused {
                Refused::Expired { at, .. } => format!(
                    "the challenge expired at {}; wait for the next one, or tick the box below the answer",
                    moment(at)
                ),
                refused => refused.to_string(),
            })?;
            match relayed.status {
                200..300 => Ok(format!(
                    "The API has taken the answer to job {id} ({}).",
                    relayed.status
                )),
                status => Err(format!(
                    "the API answers {status}: {}",
                    printable(&reason_of(&relayed.body), SAID)
                )),
            }
        },
    )
    .await
}

/// Why the API refuses: the words of its error, which hold no answer of ours. Anything else may repeat what was sent.
fn reason_of(body: &[u8]) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = body
        .as_ref()
        .and_then(|body| body["data"][0]["code"].as_str());
    code.unwrap_or("no code").to_owned()
}

pub(super) async fn enqueue(
    State(parts): State<Parts>,
    Extension(who): Who,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = Fields::read(&body);
    let id = fields.owned("id").unwrap_or_default();
    let priority = fields.typed("priority").map_or(Ok(0), str::parse);
    let job = NewJob {
        id: id.clone(),
        url: fields.owned("url"),
        metadata: fields.owned("metadata"),
        webhook: fields.owned("webhook"),
        ..NewJob::default()
    };
    // A job that is refused has no page.
    let to = match JobId::parse(&id) {
        Ok(id) if !matches!(parts.store.job(&id).await, Ok(None)) => page_of(&id),
        _ => "/dashboard/jobs".to_owned(),
    };
    act(
        &parts,
        &who,
        ("enqueue", id),
        to,
        async move |parts: Parts| {
            let priority = priority.map_err(|_| "priority is a whole number".to_owned())?;
            let job = NewJob { priority, ..job };
            crate::status::jobs::check(&parts, &job)
                .map_err(|refusal| refusal.detail().to_owned())?;
            match parts.store.enqueue(&job).await.map_err(stored)? {
                true => Ok(format!("Job {} is enqueued.", job.id)),
                false => Err(format!(
                    "There is a job {} already; it is not changed.",
                    job.id
                )),
            }
        },
    )
    .await
}

/// A webhook of the configuration or the database.
async fn known(name: &str, parts: &Parts) -> Result<WebhookName, String> {
    let known = webhooks::known(name, parts.webhook_names(), &parts.store);
    known.await.map_err(sentence)
}

pub(super) async fn enable(
    State(parts): State<Parts>,
    Extension(who): Who,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let target = ("enable", name.clone());
    act(
        &parts,
        &who,
        target,
        webhook_path(&name),
        async move |parts: Parts| {
            let name = known(&name, &parts).await?;
            let deliveries = webhooks::enable(&name, &parts.store).await;
            Ok(webhooks::enabled(&name, deliveries.map_err(sentence)?))
        },
    )
    .await
}

pub(super) async fn disable(
    State(parts): State<Parts>,
    Extension(who): Who,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let reason = Fields::read(&body).owned("reason");
    let target = ("disable", name.clone());
    act(
        &parts,
        &who,
        target,
        webhook_path(&name),
        async move |parts: Parts| {
            let name = known(&name, &parts).await?;
            let reason = reason.map(|reason| webhooks::reason(&reason)).transpose();
            let reason = reason.map_err(|wrong| format!("reason: {wrong}"))?;
            let deliveries = webhooks::disable(&name, reason.as_deref(), &parts.store).await;
            Ok(webhooks::disabled(&name, deliveries.map_err(sentence)?))
        },
    )
    .await
}

pub(super) async fn hand_over(
    State(parts): State<Parts>,
    Extension(who): Who,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = Fields::read(&body);
    let to = fields.get("to").unwrap_or_default();
    let configured = parts.webhook_names();
    let (from, to) = (WebhookName::new(&name), WebhookName::new(to));
    // The page of a webhook that had nothing but its events is gone with them.
    let page = if configured.contains(&to) { &to } else { &from };
    let (target, page) = (format!("{from} to {to}"), webhook_path(page.as_str()));
    act(
        &parts,
        &who,
        ("move", target),
        page,
        async move |parts: Parts| {
            let moved = webhooks::hand_over(&from, &to, &configured, &parts.store).await;
            let mut done = webhooks::handed_over(&from, &to, &moved.map_err(sentence)?);
            if configured.contains(&from) {
                done = format!("{done}. {}", webhooks::still_configured(&from));
            }
            Ok(done)
        },
    )
    .await
}

pub(super) async fn test(
    State(parts): State<Parts>,
    Extension(who): Who,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let kind = Fields::read(&body)
        .get("type")
        .map_or(Ok(EventType::Test), str::parse);
    let target = ("test", name.clone());
    act(
        &parts,
        &who,
        target,
        webhook_path(&name),
        async move |parts: Parts| {
            let kind = kind.map_err(|_| "type is not the type of an event".to_owned())?;
            let receivers = parts.receivers.borrow().clone();
            let receiver = receivers
                .iter()
                .find(|each| each.webhook.name.as_str() == name);
            let unknown = || webhooks::unknown(&name, &parts.webhook_names()).to_string();
            let receiver = receiver.ok_or_else(unknown)?;
            let tested =
                sample::send(kind, &receiver.webhook, &receiver.sender, &parts.clock).await;
            let tested = tested.map_err(sentence)?;
            let recorded = parts.store.record_test(&tested.attempt).await;
            recorded.map_err(|error| format!("the attempt was not recorded: {error}"))?;
            let meaning = sample::meaning(&tested.report);
            match (&tested.attempt.error, tested.attempt.status) {
                (None, Some(status)) => Ok(format!("{name} answers {status}: {meaning}.")),
                (error, _) => Err(format!(
                    "{name} did not take the sample: {}; {meaning}",
                    error.as_deref().unwrap_or("no answer")
                )),
            }
        },
    )
    .await
}

pub(super) async fn give_up(
    State(parts): State<Parts>,
    Extension(who): Who,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = Fields::read(&body);
    let to = local(fields.get("to"));
    let webhook = fields.get("webhook").map(WebhookName::new);
    let unwanted = match (fields.get("event"), webhook) {
        (Some(event), Some(webhook)) => Unwanted::EventOf(event.to_owned(), webhook),
        (Some(event), None) => Unwanted::Event(event.to_owned()),
        (None, Some(webhook)) => Unwanted::AllOf(webhook),
        (None, None) => return Err(Refusal::parameter("Name an event or a webhook.")),
    };
    let target = match &unwanted {
        Unwanted::Event(event) => event.clone(),
        Unwanted::EventOf(event, webhook) => format!("{event} to {webhook}"),
        Unwanted::AllOf(webhook) => format!("all to {webhook}"),
    };
    act(
        &parts,
        &who,
        ("give up", target),
        to,
        async move |parts: Parts| {
            let deliveries = webhooks::give_up(&unwanted, &parts.store).await;
            Ok(webhooks::given_up(deliveries.map_err(sentence)?))
        },
    )
    .await
}
