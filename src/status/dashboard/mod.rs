//! The dashboard: pages for people, written by the server, that show what the other routes and the commands show, and do
//! what the commands do.
//!
//! A page is a list of parts. The same function writes them for a request and for those who watch the page
//! ([`live`]), so that both always say the same.

mod actions;
mod assets;
mod axis;
mod bulk;
mod chart;
mod events;
mod findings;
mod form;
mod history;
mod job;
mod jobs;
mod live;
mod marks;
mod operations;
mod operators;
mod overview;
mod page;
mod place;
mod replaying;
mod sign_in;
mod usual;
mod webhook;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};

use self::live::Live;
use self::marks::View;
use self::operations::Operations;
use self::place::Place;
use self::sign_in::SignIns;
use self::usual::Usual;
use super::Parts;
use super::access::{Access, Operator};
use super::query::Parameters;
use super::refusal::Refusal;
use super::{mirror, timeline};
use crate::core::time::UnixMillis;

/// Nothing but what comes from this server, and no script or style inside a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Pages that need no token.
const OPEN: [&str; 2] = ["/dashboard/sign-in", "/dashboard/sign-out"];

/// What the dashboard keeps between requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dashboard(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    access: Access,
    operations: Operations,
    usual: Usual,
    live: Live,
    sign_ins: SignIns,
}

impl Dashboard {
    /// Nothing was done yet. `access` opens sessions.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self(Arc::new(Kept {
            access,
            operations: Operations::default(),
            usual: Usual::default(),
            live: Live::default(),
            sign_ins: SignIns::default(),
        }))
    }
}

/// Whether a path belongs to the dashboard.
pub(super) fn has(path: &str) -> bool {
    path == "/" || path == "/dashboard" || path.starts_with("/dashboard/")
}

/// Cancels many jobs, after a page that counts them.
pub(super) const CANCEL_JOBS: &str = "/dashboard/cancel-jobs";

/// Enqueues a job. No route is below `/dashboard/jobs/`: a job may have any name.
pub(super) const ENQUEUE: &str = "/dashboard/enqueue";

/// Whether it is the path of a page that can be shared.
pub(super) fn has_address(path: &str) -> bool {
    Place::of(path, "").is_ok()
}

/// Whether a path of the dashboard needs no token.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || path.starts_with(assets::FOLDER)
}

/// The answer to a page that is requested without a token.
pub(super) fn sign_in(page: &Uri) -> Response {
    let target = page.path_and_query().map_or("/", |target| target.as_str());
    headed(sign_in::refused(target))
}

/// A page that opens this one, so that the request comes from this server.
pub(super) fn opened_from_here(page: &Uri) -> Response {
    let target = form::local(page.path_and_query().map(|target| target.as_str()));
    let heading = maud::html! { h1 { "One moment" } };
    let content = maud::html! { p { a href=(target) { "Open the page" } } };
    let section = page::Section::None;
    let document = page::frame("One moment", section, &heading, &content, None, None);
    let refresh = HeaderValue::from_str(&format!("0; url={target}"));
    let mut answer = Html(document.into_string()).into_response();
    if let Ok(refresh) = refresh {
        answer.headers_mut().insert(header::REFRESH, refresh);
    }
    headed(answer)
}

pub(super) fn routes() -> Router<Parts> {
    Router::new()
        .route("/", get(page))
        .route("/dashboard", get(page))
        .route("/dashboard/", get(page))
        .route("/dashboard/jobs", get(page))
        .route(ENQUEUE, post(actions::enqueue))
        .route(CANCEL_JOBS, get(bulk::confirm).post(bulk::cancel))
        .route("/dashboard/jobs/{id}", get(page))
        .route("/dashboard/jobs/{id}/json", get(mirror::job))
        .route("/dashboard/jobs/{id}/timeline", get(timeline::timeline))
        .route("/dashboard/jobs/{id}/poll", post(actions::poll))
        .route("/dashboard/jobs/{id}/cancel", post(actions::cancel))
        .route("/dashboard/jobs/{id}/answer", post(actions::answer))
        .route("/dashboard/webhooks", get(page))
        .route("/dashboard/webhooks/{name}", get(page))
        .route("/dashboard/webhooks/{name}/enable", post(actions::enable))
        .route("/dashboard/webhooks/{name}/disable", post(actions::disable))
        .route("/dashboard/webhooks/{name}/move", post(actions::hand_over))
        .route("/dashboard/webhooks/{name}/test", post(actions::test))
        .route(
            "/dashboard/replay",
            get(replaying::confirm).post(replaying::replay),
        )
        .route("/dashboard/give-up", post(actions::give_up))
        .route("/dashboard/events", get(page))
        .route("/dashboard/operators", get(page))
        .route("/dashboard/live", get(live::live))
        .route("/dashboard/sign-in", get(sign_in::form).post(sign_in::open))
        .route("/dashboard/sign-out", post(sign_in::close))
        .route("/dashboard/assets/{name}", get(assets::asset))
        .layer(from_fn(with_headers))
}

async fn with_headers(request: Request, next: Next) -> Response {
    let operator = request.extensions().get::<Operator>();
    let renewed = operator.and_then(|operator| operator.renewed.clone());
    let mut response = headed(next.run(request).await);
    let cookie = renewed.and_then(|cookie| HeaderValue::from_str(&cookie).ok());
    if let Some(cookie) = cookie
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn headed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    // Browsers send no Origin with forms where the policy is no-referrer.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// The number of an operation whose outcome is shown above a page.
#[derive(serde::Deserialize)]
struct Done {
    done: Option<u64>,
}

/// Any page of a [`Place`].
async fn page(
    State(parts): State<Parts>,
    axum::Extension(operator): axum::Extension<Operator>,
    Parameters(Done { done }): Parameters<Done>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let place = Place::of(uri.path(), uri.query().unwrap_or_default())?;
    let view = View {
        now: parts.clock.now(),
        operator,
    };
    let operations = &parts.dashboard.0.operations;
    let notice = done.and_then(|number| operations.notice(number, uri.path()));
    let page = place.page(&parts, &view).await?;
    let document = page.document(&place.address(), notice.as_ref(), &view);
    answered(&parts, document).await
}

/// A document, whose bytes count until they are sent.
async fn answered(parts: &Parts, document: String) -> Result<Response, Refusal> {
    let body = parts.budget.text(document).await?;
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    Ok(([kind], body).into_response())
}

/// A refusal as a page, for somebody who looks at one; other answers as they are.
pub(super) fn refusal_as_page(
    mut answer: Response,
    operator: Option<Operator>,
    now: UnixMillis,
) -> Response {
    let Some(refusal) = answer.extensions_mut().remove::<Refusal>() else {
        return answer;
    };
    let view = operator.map(|operator| View { now, operator });
    let heading = maud::html! { h1 { (refusal.title()) } };
    let content = maud::html! { p { (refusal.detail()) } p { a href="/" { "To the overview" } } };
    let section = page::Section::None;
    let document = page::frame(
        refusal.title(),
        section,
        &heading,
        &content,
        None,
        view.as_ref(),
    );
    let (mut head, _) = answer.into_parts();
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.remove(header::CONTENT_LENGTH);
    headed((head.status, head.headers, Html(document.into_string())).into_response())
}
