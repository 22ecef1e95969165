//! `POST /jobs/{id}/mfa`: a user's answers, handed on to the challenge's own address; the API's status and body come back.

use std::sync::PoisonError;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Parts;
use super::budget::Reservation;
use super::envelope::envelope;
use super::openapi::Any;
use crate::core::job::JobId;
use crate::core::poll::TroubleClass;
use crate::mfa::{Answers, Challenges, Refused};
use crate::store::StoreError;
use crate::upstream::{NotRelayed, Relayed};

// Codes and titles as the API has them, where it has any.
const NOT_VALID: &str = "parameter-not-valid";
const UNAVAILABLE: &str = "service-unavailable";
const INVALID: &str = "Parameter value is not valid.";
const NOT_FOUND: &str = "Requested resource is not found.";
const NOT_ASKED: &str = "The job waits for no answer.";
const EXPIRED: &str = "The challenge has expired.";
const NO_ANSWER: &str = "The API has not answered.";
const LATER: &str = "Service is currently unavailable. Please try again later.";

/// A user's answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Answers::from_json() reads")]
#[schema(as = AnswersGiven)]
pub(super) struct Given {
    #[serde(rename = "mfa-response")]
    #[schema(max_items = 20)]
    mfa_response: Vec<String>,
}

/// What may stand behind the path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manner {
    /// Send the answers though the challenge has expired by our reckoning.
    #[serde(default)]
    late: bool,
}

/// Hand a user's answers on
///
/// They go to the open challenge's own address, with a token of the job's user where that is known, and the API's status
/// and body come back. They are never stored or logged. The job is polled at once.
#[utoipa::path(
    post,
    path = "/jobs/{id}/mfa",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("late" = Option<bool>, Query, description = "Send them though the challenge has expired by our reckoning"),
    ),
    request_body(content = Given, description = "One answer per input of the challenge, 1 to 4096 bytes each"),
    responses(
        (status = "default", description = "Whatever the API answers", body = Any),
        (status = 404, description = "No such job is tracked here", body = super::openapi::Refused),
        (status = 409, description = "The job waits for no answer", body = super::openapi::Refused),
        (status = 410, description = "The challenge has expired", body = super::openapi::Refused),
        (status = 422, description = "Another number of answers is wanted", body = super::openapi::Refused),
        (status = 502, description = "The API could not be reached, or its answer could not be read", body = super::openapi::Refused),
        (status = 504, description = "The API has not answered in time", body = super::openapi::Refused),
    )
)]
// The guard has read the body, into memory that is overwritten when it is dropped.
pub(super) async fn answer(
    State(parts): State<Parts>,
    id: Result<Path<String>, PathRejection>,
    manner: Result<Query<Manner>, QueryRejection>,
    body: Bytes,
) -> Response {
    let id = id.ok().and_then(|Path(id)| JobId::parse(&id).ok());
    let Some(id) = id else {
        return not_valid(StatusCode::BAD_REQUEST, "Job ID value is not valid.");
    };
    let Ok(Query(Manner { late })) = manner else {
        let detail = "The only thing behind the path is ?late=true or ?late=false.";
        return not_valid(StatusCode::BAD_REQUEST, detail);
    };
    let answers = match Answers::from_json(&body) {
        Ok(answers) => answers,
        Err(unfit) => return not_valid(StatusCode::BAD_REQUEST, &unfit.to_string()),
    };
    drop(body);
    let reserved = match parts.budget.relay().await {
        Ok(reserved) => reserved,
        Err(refusal) => return refusal.into_response(),
    };
    // A task of its own: a client that goes away must not leave half a request, and a job that nobody looks at.
    let relaying = tokio::spawn(async move {
        let upstream = {
            let shared = parts.upstream.read();
            shared.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let challenges = Challenges {
            store: &parts.store,
            upstream: &upstream,
            clock: &parts.clock,
            late,
        };
        let relayed = challenges.relay(&id, &answers).await;
        parts.nudge.notify_one();
        relayed
    });
    match relaying.await {
        Ok(Ok(relayed)) => handed_on(relayed, reserved).await,
        Ok(Err(refused)) => refusal(&refused),
        Err(_) => unavailable("The answers were not relayed: the daemon is stopping."),
    }
}

/// The API's own answer. What is no JSON, such as a proxy's page, comes as plain text that no browser runs.
async fn handed_on(relayed: Relayed, reserved: Reservation) -> Response {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(&relayed.body).is_ok();
    let kind = if json {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let status = StatusCode::from_u16(relayed.status).unwrap_or(StatusCode::BAD_GATEWAY);
    // It fits into what is reserved.
    let body = reserved.charged(relayed.body).await;
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn refusal(refused: &Refused) -> Response {
    let (status, code, title) = match refused {
        Refused::UnknownJob(_) => (StatusCode::NOT_FOUND, "resource-not-found", NOT_FOUND),
        Refused::Ended(_) | Refused::NoChallenge(_) => {
            (StatusCode::CONFLICT, "request-not-valid", NOT_ASKED)
        }
        Refused::Expired { .. } => (StatusCode::GONE, "resource-no-longer-available", EXPIRED),
        Refused::Count { .. } => (StatusCode::UNPROCESSABLE_ENTITY, NOT_VALID, INVALID),
        Refused::Store(error) => return unreadable(error),
        Refused::NotRelayed(NotRelayed::Token(_) | NotRelayed::Short(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, LATER)
        }
        Refused::NotRelayed(NotRelayed::Trouble(trouble))
            if trouble.class == TroubleClass::Timeout =>
        {
            (StatusCode::GATEWAY_TIMEOUT, UNAVAILABLE, NO_ANSWER)
        }
        Refused::NoAddress(_) | Refused::NotRelayed(_) => {
            (StatusCode::BAD_GATEWAY, UNAVAILABLE, NO_ANSWER)
        }
    };
    envelope(status, code, title, &refused.to_string())
}

fn unreadable(error: &StoreError) -> Response {
    if error.is_temporary() {
        tracing::debug!(%error, "a challenge cannot be read just now");
    } else {
        tracing::error!(%error, "a challenge cannot be read");
    }
    unavailable("The database cannot be read.")
}

fn not_valid(status: StatusCode, detail: &str) -> Response {
    envelope(status, NOT_VALID, INVALID, detail)
}

fn unavailable(detail: &str) -> Response {
    envelope(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, LATER, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::poll::Trouble;
    use crate::core::time::UnixMillis;
    use crate::upstream::target::RefusedUrl;

    #[test]
    fn each_refusal_has_a_status_of_its_own_kind() {
        let id = || JobId::parse("7").unwrap();
        let trouble = |class| {
            let detail = String::new();
            Refused::NotRelayed(NotRelayed::Trouble(Trouble { class, detail }))
        };
        let expired = Refused::Expired {
            id: id(),
            at: UnixMillis(0),
            implausible: false,
        };
        let count = Refused::Count {
            id: id(),
            wanted: Vec::new(),
            answers: 2,
        };
        for (refused, status) in [
            (Refused::UnknownJob(id()), 404),
            (Refused::Ended(id()), 409),
            (Refused::NoChallenge(id()), 409),
            (expired, 410),
            (count, 422),
            (Refused::NoAddress(id()), 502),
            (Refused::NotRelayed(RefusedUrl::OtherOrigin.into()), 502),
            (Refused::Store(StoreError::Busy), 503),
            (trouble(TroubleClass::Connect), 502),
            (trouble(TroubleClass::TooLarge), 502),
            (trouble(TroubleClass::Timeout), 504),
        ] {
            assert_eq!(refusal(&refused).status().as_u16(), status, "{refused}");
        }
    }
}
