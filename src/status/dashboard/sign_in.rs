//! Signing in with a token, once per browser, and out again.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse as _, Response};
use maud::html;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::form::{Fields, local, see};
use super::page::{Section, frame, notice};
use crate::status::Parts;
use crate::status::access::is_secure;

/// So many attempts may fail …
const ATTEMPTS: usize = 5;

/// … within this time; then the next one has to wait.
const WITHIN: Duration = Duration::from_secs(60);

/// Attempts that failed, of all browsers together.
#[derive(Debug, Default)]
pub(super) struct SignIns(Mutex<VecDeque<Instant>>);

impl SignIns {
    /// How long the next attempt has to wait, if it has to.
    fn wait(&self) -> Option<Duration> {
        let failed = self.0.lock();
        let oldest = failed.front().filter(|_| failed.len() >= ATTEMPTS)?;
        let left = WITHIN.checked_sub(oldest.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    fn failed(&self) {
        let mut failed = self.0.lock();
        if failed.len() >= ATTEMPTS {
            failed.pop_front();
        }
        failed.push_back(Instant::now());
    }
}

/// 401, with the form that asks for the token.
pub(super) fn refused(target: &str) -> Response {
    page(StatusCode::UNAUTHORIZED, target, None)
}

fn page(status: StatusCode, target: &str, wrong: Option<&str>) -> Response {
    let heading = html! { h1 { "Sign in" } };
    let content = html! {
        @if let Some(wrong) = wrong { (notice("bad", wrong, false)) }
        form.stack method="post" action="/dashboard/sign-in" {
            input type="hidden" name="to" value=(local(Some(target)));
            div.field { label for="token" { "Token" }
                input #token name="token" type="password" required autocomplete="current-password" maxlength="1024" autofocus; }
            div.buttons { button type="submit" { "Sign in" } }
        }
        p.dim { "The token is that of " code { "status.token_file" } " or of a " code { "[status.tokens.NAME]" } " section. The browser stays signed in for 12 hours after the last page." }
    };
    let document = frame("Sign in", Section::None, &heading, &content, None, None);
    (status, Html(document.into_string())).into_response()
}

pub(super) async fn form(uri: Uri) -> Response {
    let fields = Fields::read(uri.query().unwrap_or_default().as_bytes());
    page(StatusCode::OK, &local(fields.get("to")), None)
}

/// Opens a session for whoever has a token.
pub(super) async fn open(State(parts): State<Parts>, headers: HeaderMap, body: Bytes) -> Response {
    let fields = Fields::read(&body);
    let to = local(fields.get("to"));
    let kept = &parts.dashboard.0;
    if let Some(wait) = kept.sign_ins.wait() {
        let seconds = wait.as_secs() + 1;
        let wrong = format!("Too many attempts failed. Try again in {seconds} seconds.");
        let mut response = page(StatusCode::TOO_MANY_REQUESTS, &to, Some(&wrong));
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
        return response;
    }
    let token = fields.typed("token").unwrap_or_default();
    let Some((name, cookie)) = kept
        .access
        .open(token, is_secure(&headers), parts.clock.now())
    else {
        kept.sign_ins.failed();
        tracing::warn!("a sign-in to the dashboard failed: no such token");
        return page(
            StatusCode::UNAUTHORIZED,
            &to,
            Some("That is not a token of this server."),
        );
    };
    tracing::info!(operator = %name, action = "sign in", "an operator signed in");
    // A session that was open before ends: the browser would send both.
    let closed = kept.access.closed(&headers).into_iter();
    with_cookies(see(&to), closed.chain([cookie]))
}

/// Ends the session of this browser.
pub(super) async fn close(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    let closed = parts.dashboard.0.access.closed(&headers);
    with_cookies(see("/dashboard/sign-in"), closed.into_iter())
}

fn with_cookies(mut response: Response, cookies: impl Iterator<Item = String>) -> Response {
    let cookies = cookies.filter_map(|cookie| HeaderValue::from_str(&cookie).ok());
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_five_failures_within_a_minute_the_next_attempt_waits() {
        let sign_ins = SignIns::default();
        for _ in 0..ATTEMPTS {
            assert_eq!(sign_ins.wait(), None);
            sign_ins.failed();
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert_eq!(sign_ins.wait(), Some(Duration::from_secs(35)));
        tokio::time::advance(Duration::from_secs(35)).await;
        assert_eq!(sign_ins.wait(), None);
    }
}
