//! `POST /jobs/{id}/mfa`: relays a user's answers to the challenge's response URL and returns the API's status and body.

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Parts;
use super::budget::Reservation;
use super::refusal::Refusal;
use crate::core::job::JobId;
use crate::core::poll::TroubleClass;
use crate::mfa::{Answers, Challenges, Refused};
use crate::record::status::Any;
use crate::store::StoreError;
use crate::upstream::{NotRelayed, Relayed};

/// A user's answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Answers::from_json() reads")]
#[schema(as = AnswersGiven)]
pub(super) struct AnswersBody {
    #[serde(rename = "mfa-response")]
    #[schema(max_items = 20)]
    mfa_response: Vec<String>,
}

/// The query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelayQuery {
    /// Send the answers even if the challenge has expired by our clock.
    #[serde(default)]
    late: bool,
}

/// Relay a user's answers
///
/// They are sent to the open challenge's own address, with a token of the job's user where that is known, and the API's
/// status and body are returned. They are never stored or logged. The job is polled at once.
#[utoipa::path(
    post,
    path = "/jobs/{id}/mfa",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job"),
        ("late" = Option<bool>, Query, description = "Send them even if the challenge has expired by our clock"),
    ),
    request_body(content = AnswersBody, description = "One answer per input of the challenge, 1 to 4096 bytes each"),
    responses(
        (status = "default", description = "Whatever the API answers", body = Any),
        (status = 404, description = "No such job is tracked here", body = super::openapi::Refused),
        (status = 409, description = "The job waits for no answer", body = super::openapi::Refused),
        (status = 410, description = "The challenge has expired", body = super::openapi::Refused),
        (status = 422, description = "The challenge takes another number of answers", body = super::openapi::Refused),
        (status = 502, description = "The API could not be reached, or its answer could not be read", body = super::openapi::Refused),
        (status = 504, description = "The API has not answered in time", body = super::openapi::Refused),
    )
)]
// The guard has read the body, into memory that is overwritten when it is dropped.
pub(super) async fn answer(
    State(parts): State<Parts>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<RelayQuery>, QueryRejection>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let id = id.ok().and_then(|Path(id)| JobId::parse(&id).ok());
    let id = id.ok_or_else(|| Refusal::parameter("Job ID value is not valid."))?;
    let Ok(Query(RelayQuery { late })) = query else {
        let detail = "The only parameter is late, true or false.";
        return Err(Refusal::parameter(detail));
    };
    let answers = Answers::from_json(&body);
    let answers = answers.map_err(|invalid| Refusal::parameter(invalid.to_string()))?;
    drop(body);
    let reserved = parts.budget.relay().await?;
    // In a task: a client that disconnects must not interrupt the request, nor keep the job from being polled.
    let relaying = tokio::spawn(async move {
        let relayed = relay(&parts, &id, &answers, late, None).await;
        parts.wakeup.notify_one();
        relayed
    });
    match relaying.await {
        Ok(Ok(relayed)) => Ok(relayed_answer(relayed, reserved).await),
        Ok(Err(refused)) => Err(refusal(&refused)),
        Err(_) => Err(Refusal::unavailable(
            "The answers were not relayed: the daemon is stopping.",
        )),
    }
}

/// Relays answers to the open challenge of a job; `late`: even if it has expired by our clock; `shown`: the mark of the one that
/// its user has seen.
pub(super) async fn relay(
    parts: &Parts,
    id: &JobId,
    answers: &Answers,
    late: bool,
    shown: Option<&str>,
) -> Result<Relayed, Refused> {
    let upstream = parts.upstream.borrow().clone();
    let challenges = Challenges {
        store: &parts.store,
        upstream: &upstream,
        clock: &parts.clock,
        late,
        shown,
    };
    challenges.relay(id, answers).await
}

/// The API's own answer. What is not JSON, such as a proxy's page, is sent as plain text, which no browser runs.
async fn relayed_answer(relayed: Relayed, reserved: Reservation) -> Response {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(&relayed.body).is_ok();
    let kind = if json {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let status = StatusCode::from_u16(relayed.status).unwrap_or(StatusCode::BAD_GATEWAY);
    // It fits into the reserved memory.
    let body = reserved.charged(relayed.body).await;
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn refusal(refused: &Refused) -> Refusal {
    let kind = match refused {
        Refused::UnknownJob(_) => StatusCode::NOT_FOUND,
        Refused::Ended(_) | Refused::NoChallenge(_) | Refused::Another(_) => StatusCode::CONFLICT,
        Refused::Expired { .. } => StatusCode::GONE,
        Refused::Count { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Store(error) => return unreadable(error),
        Refused::NotRelayed(NotRelayed::Token(_) | NotRelayed::Short(_)) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refused::NotRelayed(NotRelayed::Trouble(trouble))
            if trouble.class == TroubleClass::Timeout =>
        {
            StatusCode::GATEWAY_TIMEOUT
        }
        Refused::NoAddress(_) | Refused::NotRelayed(_) => StatusCode::BAD_GATEWAY,
    };
    Refusal::new(kind, refused.to_string())
}

fn unreadable(error: &StoreError) -> Refusal {
    if error.is_temporary() {
        tracing::debug!(%error, "a challenge cannot be read just now");
    } else {
        tracing::error!(%error, "a challenge cannot be read");
    }
    Refusal::unavailable("The database cannot be read.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::poll::Trouble;
    use crate::core::time::UnixMillis;
    use crate::upstream::RefusedUrl;

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
            (Refused::Another(id()), 409),
            (expired, 410),
            (count, 422),
            (Refused::NoAddress(id()), 502),
            (Refused::NotRelayed(RefusedUrl::OtherOrigin.into()), 502),
            (Refused::Store(StoreError::Busy), 503),
            (trouble(TroubleClass::Connect), 502),
            (trouble(TroubleClass::TooLarge), 502),
            (trouble(TroubleClass::Timeout), 504),
        ] {
            assert_eq!(
                refusal(&refused).into_response().status().as_u16(),
                status,
                "{refused}"
            );
        }
    }
}
