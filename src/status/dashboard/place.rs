//! The pages that have an address, with the parameters of each; anything else is refused.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::events::EventsQuery;
use super::jobs::JobsQuery;
use super::marks::View;
use super::page::Page;
use super::{events, job, jobs, operators, overview, webhook, webhooks};
use crate::core::delivery::WebhookName;
use crate::core::job::JobId;
use crate::status::Parts;
use crate::status::refusal::Refusal;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Overview,
    Jobs(Box<JobsQuery>),
    Job(JobId),
    Webhooks,
    Webhook(WebhookName),
    Events(EventsQuery),
    Operators,
}

/// Parameters that every page has.
#[derive(Deserialize)]
struct Nothing {}

impl Place {
    /// The page of this address.
    pub(super) fn of(path: &str, query: &str) -> Result<Self, Refusal> {
        let below = |folder: &str| {
            let name = path.strip_prefix(folder)?;
            let name = decoded(name)?;
            (!name.is_empty() && !path[folder.len()..].contains('/')).then_some(name)
        };
        if let Some(id) = below("/dashboard/jobs/") {
            let id = JobId::parse(&id);
            return id.map(Self::Job).map_err(|_| Refusal::no_such_job());
        }
        if let Some(name) = below("/dashboard/webhooks/") {
            return Ok(Self::Webhook(WebhookName::new(&name)));
        }
        match path {
            "/" | "/dashboard" | "/dashboard/" => read::<Nothing>(query).map(|_| Self::Overview),
            "/dashboard/jobs" => read(query).map(|query| Self::Jobs(Box::new(query))),
            "/dashboard/webhooks" => Ok(Self::Webhooks),
            "/dashboard/events" => read(query).map(Self::Events),
            "/dashboard/operators" => Ok(Self::Operators),
            _ => Err(Refusal::no_such_route()),
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Overview => "/".to_owned(),
            Self::Jobs(query) => query.address(),
            Self::Job(id) => format!("/dashboard/jobs/{id}"),
            Self::Webhooks => "/dashboard/webhooks".to_owned(),
            Self::Webhook(name) => super::marks::webhook_path(name.as_str()),
            Self::Events(query) => query.address(),
            Self::Operators => "/dashboard/operators".to_owned(),
        }
    }

    /// Its content now.
    pub(super) async fn page(&self, parts: &Parts, view: &View) -> Result<Page, Refusal> {
        match self {
            Self::Overview => overview::page(parts, view).await,
            Self::Jobs(query) => jobs::page(query, parts, view).await,
            Self::Job(id) => job::page(id, parts, view).await,
            Self::Webhooks => webhooks::page(parts, view).await,
            Self::Webhook(name) => webhook::page(name, parts, view).await,
            Self::Events(query) => events::page(query, parts, view).await,
            Self::Operators => Ok(operators::page(parts, view)),
        }
    }
}

/// The parameters of an address. `done`, the number of an operation whose outcome is shown, is no part of the page.
pub(super) fn read<T: DeserializeOwned>(query: &str) -> Result<T, Refusal> {
    read_beside("done", query.as_bytes()).map(|(_, read)| read)
}

/// The parameters of an address or the fields of a form, and beside them one of this name.
pub(super) fn read_beside<T: DeserializeOwned>(
    name: &str,
    given: &[u8],
) -> Result<(Option<u64>, T), Refusal> {
    let pairs = || url::form_urlencoded::parse(given);
    let mut beside = pairs().filter(|(each, _)| each == name);
    let beside = beside.next().and_then(|(_, value)| value.parse().ok());
    // Forms send fields that were left empty; they mean nothing.
    let given = pairs().filter(|(each, value)| !value.is_empty() && each != name);
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish();
    let uri = format!("/?{query}").parse();
    let uri = uri.map_err(|_| Refusal::request("The parameters cannot be read."))?;
    let read = axum::extract::Query::try_from_uri(&uri);
    read.map(|axum::extract::Query(read)| (beside, read))
        .map_err(|error| Refusal::parameter(error.body_text()))
}

/// A part of a path without its escapes.
fn decoded(text: &str) -> Option<String> {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    (!value.contains('\0')).then(|| value.into_owned())
}
