//! What an answer, or the lack of one, means for a delivery.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::header::{HeaderMap, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use hyper_util::client::legacy;
use url::Url;

use super::guard::Verdict;
use super::resolver::NoAddress;
use crate::core::backoff::{MAX_RETRY_AFTER, parse_retry_after};
use crate::core::delivery::{AttemptErrorClass, AttemptResult, Directive};
use crate::core::text::printable;
use crate::core::time::UnixMillis;
use crate::sockets::{CONNECT_LIMIT, cause, is_timeout, links};

/// Longest detail that is kept, in characters.
const MAX_DETAIL: usize = 200;

/// Reads the status line and the headers; the body does not matter.
pub(super) fn of_answer<B>(
    response: &Response<B>,
    webhook: &Url,
    now: UnixMillis,
) -> AttemptResult {
    let status = response.status();
    let code = status.as_u16();
    if status.is_success() {
        return AttemptResult::Delivered { status: code };
    }
    let detail = match status {
        StatusCode::GONE => return AttemptResult::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            if let Some(retry_after) = retry_after(response.headers(), now) {
                return AttemptResult::Throttled {
                    status: code,
                    retry_after,
                };
            }
            name(status).to_owned()
        }
        _ => match redirect_target(response.headers(), webhook).filter(|_| status.is_redirection())
        {
            Some(target) => {
                let name = name(status);
                printable(
                    &format!("{name}, which is not followed, to {target}"),
                    MAX_DETAIL,
                )
            }
            None => name(status).to_owned(),
        },
    };
    AttemptResult::Refused {
        status: code,
        detail,
        too_slow: false,
    }
}

/// What `webhook-delivery` asks for; an unknown word asks for nothing.
pub(super) fn directive(headers: &HeaderMap) -> Option<Directive> {
    let value = headers.get("webhook-delivery")?.to_str().ok()?;
    value.trim().parse().ok()
}

/// No status line within the webhook's limit.
pub(super) fn of_silence(timeout: Duration) -> AttemptResult {
    let timeout = humantime::format_duration(timeout);
    let text = format!("no status within {timeout}");
    unreachable(AttemptErrorClass::Timeout, &text)
}

/// The URL was not read with the settings.
pub(super) fn of_no_url() -> AttemptResult {
    unreachable(AttemptErrorClass::Http, "the URL was not read")
}

/// The URL, or the id of an event that another program wrote, is no text that HTTP can have there.
pub(super) fn of_unfit_request() -> AttemptResult {
    let text = "the URL or the event's id cannot be sent over HTTP";
    unreachable(AttemptErrorClass::Http, text)
}

/// The URL names an address that events may not be sent to.
pub(super) fn of_forbidden_address(verdict: Verdict) -> AttemptResult {
    let error = NoAddress::Blocked(verdict);
    unreachable(AttemptErrorClass::BlockedAddress, &error.to_string())
}

/// The class and the cause of a failed request.
pub(super) fn of_error(error: &legacy::Error, webhook: &Url) -> AttemptResult {
    let chain = || links(error);
    let no_address = chain().find_map(|link| link.downcast_ref::<NoAddress>());
    let tls = chain().find_map(|link| link.downcast_ref::<rustls::Error>());
    let limit = humantime::format_duration(CONNECT_LIMIT);
    let (class, text) = match (no_address, tls) {
        (Some(blocked @ NoAddress::Blocked(_)), _) => {
            (AttemptErrorClass::BlockedAddress, blocked.to_string())
        }
        (Some(not_found), _) => (AttemptErrorClass::Dns, not_found.to_string()),
        (None, Some(tls)) => (AttemptErrorClass::Tls, tls.to_string()),
        (None, None) if error.is_connect() && is_timeout(error) => {
            let text = format!("no connection within {limit}");
            (AttemptErrorClass::Connect, text)
        }
        // A refused connection has an error of its kind; one that broke before the request broke in the handshake.
        (None, None)
            if error.is_connect() && webhook.scheme() == "https" && chain().any(is_broken) =>
        {
            (AttemptErrorClass::Tls, cause(error))
        }
        (None, None) if error.is_connect() => (AttemptErrorClass::Connect, cause(error)),
        (None, None) if is_timeout(error) => (AttemptErrorClass::Timeout, cause(error)),
        (None, None) => (AttemptErrorClass::Http, cause(error)),
    };
    unreachable(class, &text)
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

/// Scheme and host of `Location`, enough to correct the configuration; path and query may hold secrets.
fn redirect_target(headers: &HeaderMap, webhook: &Url) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let target = webhook.join(location).ok()?;
    let host = target.host_str()?;
    Some(format!("{}://{host}", target.scheme()))
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
