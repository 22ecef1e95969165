//! What an answer, or the lack of one, means for a delivery.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::guard::Verdict;
use super::resolver::NoAddress;
use super::sender::CONNECT_LIMIT;
use crate::core::backoff::{MAX_RETRY_AFTER, parse_retry_after};
use crate::core::delivery::{AttemptErrorClass, AttemptResult, Directive};
use crate::core::poll::printable;
use crate::core::time::UnixMillis;
use crate::sockets::links;

/// Longest detail that is kept, in characters.
const MAX_DETAIL: usize = 200;

/// Reads the status line and the headers; the body has no say.
pub(super) fn of_answer(response: &Response, now: UnixMillis) -> AttemptResult {
    let status = response.status();
    let code = status.as_u16();
    if status.is_success() {
        return AttemptResult::Delivered { status: code };
    }
    match status {
        StatusCode::GONE => AttemptResult::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            match retry_after(response.headers(), now) {
                Some(retry_after) => AttemptResult::Throttled {
                    status: code,
                    retry_after,
                },
                None => refused(status),
            }
        }
        _ if status.is_redirection() => match redirect_target(response) {
            Some(target) => AttemptResult::Refused {
                status: code,
                detail: printable(
                    &format!("{}, which is not followed, to {target}", name(status)),
                    MAX_DETAIL,
                ),
                too_slow: false,
            },
            None => refused(status),
        },
        _ => refused(status),
    }
}

/// What `webhook-delivery` asks for; words nobody knows ask for nothing.
pub(super) fn directive(headers: &HeaderMap) -> Option<Directive> {
    let value = headers.get("webhook-delivery")?.to_str().ok()?;
    Directive::from_word(value.trim())
}

/// No status line within the webhook's limit.
pub(super) fn of_silence(timeout: Duration) -> AttemptResult {
    let timeout = humantime::format_duration(timeout);
    unreachable(
        AttemptErrorClass::Timeout,
        &format!("no status within {timeout}"),
    )
}

/// The settings were read without the URL.
pub(super) fn of_no_url() -> AttemptResult {
    unreachable(AttemptErrorClass::Http, "the URL was not read")
}

/// The URL names an address that may not be told.
pub(super) fn of_forbidden_address(verdict: Verdict) -> AttemptResult {
    let error = NoAddress::Blocked(verdict);
    unreachable(AttemptErrorClass::BlockedAddress, &error.to_string())
}

/// Finds the class of a failed request and the shortest useful text in its chain. The outermost texts are passed over:
/// they name the URL, and a URL can hold secrets.
pub(super) fn of_error(error: reqwest::Error, webhook: &Url) -> AttemptResult {
    let error = error.without_url();
    let chain = || links(&error);
    if let Some(none) = chain().find_map(|link| link.downcast_ref::<NoAddress>()) {
        let class = match none {
            NoAddress::Blocked(_) => AttemptErrorClass::BlockedAddress,
            NoAddress::Lookup(_) | NoAddress::TooSlow | NoAddress::Empty => AttemptErrorClass::Dns,
        };
        return unreachable(class, &none.to_string());
    }
    if let Some(tls) = chain().find_map(as_tls) {
        return unreachable(AttemptErrorClass::Tls, &tls.to_string());
    }
    let text = chain().last().map(ToString::to_string).unwrap_or_default();
    if error.is_connect() {
        if error.is_timeout() {
            let limit = humantime::format_duration(CONNECT_LIMIT);
            let text = format!("no connection within {limit}");
            return unreachable(AttemptErrorClass::Connect, &text);
        }
        // A refused connection says so; one that was made and broke before the request can only break in the handshake.
        let in_handshake = webhook.scheme() == "https" && chain().any(is_broken);
        let class = if in_handshake {
            AttemptErrorClass::Tls
        } else {
            AttemptErrorClass::Connect
        };
        return unreachable(class, &text);
    }
    if error.is_timeout() {
        return unreachable(AttemptErrorClass::Timeout, &text);
    }
    unreachable(AttemptErrorClass::Http, &text)
}

fn refused(status: StatusCode) -> AttemptResult {
    AttemptResult::Refused {
        status: status.as_u16(),
        detail: name(status).to_owned(),
        too_slow: false,
    }
}

fn unreachable(class: AttemptErrorClass, text: &str) -> AttemptResult {
    AttemptResult::Unreachable {
        class,
        detail: printable(text, MAX_DETAIL),
    }
}

fn name(status: StatusCode) -> &'static str {
    status
        .canonical_reason()
        .unwrap_or("a status without a registered name")
}

fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let values = headers.get_all(RETRY_AFTER).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    parse_retry_after(values, now, MAX_RETRY_AFTER)
}

/// Scheme and host of `Location`, enough to put the configuration right; path and query may hold secrets.
fn redirect_target(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(location).ok()?;
    let host = target.host_str()?;
    Some(format!("{}://{host}", target.scheme()))
}

fn as_tls<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    link.downcast_ref::<rustls::Error>()
}

fn is_broken(link: &(dyn Error + 'static)) -> bool {
    link.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        )
    })
}
