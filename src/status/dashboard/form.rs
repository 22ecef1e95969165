//! Fields of forms, and the answer to one: the page it came from, with the outcome above it.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use zeroize::Zeroizing;

use super::operations::Operation;
use crate::status::Parts;
use crate::status::access::Operator;
use crate::status::refusal::Refusal;
use crate::store::StoreError;

/// The fields of a form, in memory that is overwritten when they are dropped.
pub(super) struct Fields(Vec<(String, Zeroizing<String>)>);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(body);
        let owned =
            pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())));
        Self(owned.collect())
    }

    /// The value of a field that was not left empty, as it is: rows may name anything.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(each, _)| each == name);
        let value = named.next().map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// The value of a field that somebody has typed or pasted.
    pub(super) fn typed(&self, name: &str) -> Option<&str> {
        let value = self.get(name).map(str::trim);
        value.filter(|value| !value.is_empty())
    }

    /// The same.
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.typed(name).map(str::to_owned)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// All values of a field.
    pub(super) fn all(self, name: &str) -> Vec<Zeroizing<String>> {
        let named = self.0.into_iter().filter(|(each, _)| each == name);
        named.map(|(_, value)| value).collect()
    }
}

/// A page of this server, or the overview.
pub(super) fn local(to: Option<&str>) -> String {
    let is_ours = |to: &&str| {
        let path = to.split('?').next().unwrap_or_default();
        super::has(path)
            && !to.starts_with("//")
            && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    to.filter(is_ours).unwrap_or("/").to_owned()
}

/// 303 to a page.
pub(super) fn see(to: &str) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// Carries an action out, records it with its outcome, and returns to a page that shows it.
///
/// In a task: a client that disconnects must not interrupt a transaction.
pub(super) async fn act<F>(
    parts: &Parts,
    operator: &Operator,
    (action, target): (&'static str, String),
    to: String,
    work: impl FnOnce(Parts) -> F + Send + 'static,
) -> Result<Response, Refusal>
where
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let permit = parts.budget.write()?;
    let (own, name, page) = (parts.clone(), Arc::clone(&operator.name), to.clone());
    let acting = tokio::spawn(async move {
        let _permit = permit;
        let outcome = work(own.clone()).await;
        own.wakeup.notify_one();
        let operations = &own.dashboard.0.operations;
        let done = Operation {
            number: 0,
            at: own.clock.now(),
            operator: name,
            action,
            target,
            is_done: outcome.is_ok(),
            outcome: outcome.unwrap_or_else(|refused| refused),
            page: page.split('?').next().unwrap_or_default().to_owned(),
        };
        operations.record(done)
    });
    let interrupted = "It was interrupted: the daemon is stopping.";
    let number = acting.await;
    let number = number.map_err(|_| Refusal::unavailable(interrupted))?;
    let mark = if to.contains('?') { '&' } else { '?' };
    Ok(see(&format!("{to}{mark}done={number}")))
}

/// An error of the database in a sentence, logged where it is not temporary.
pub(super) fn stored(error: StoreError) -> String {
    match error {
        StoreError::Refused(reason) => reason,
        error => Refusal::unwritable(&error).detail().to_owned(),
    }
}

/// The same for an error that may be another one.
pub(super) fn sentence(error: anyhow::Error) -> String {
    match error.downcast() {
        Ok(error) => stored(error),
        Err(error) => format!("{error:#}"),
    }
}
