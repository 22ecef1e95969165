//! Requests and URLs as they may be printed: each secret is three asterisks.

use http::Request;
use url::Url;

use crate::core::redact::HIDDEN;

/// Shortest segment of a path that counts as a secret, in bytes.
const SECRET_SEGMENT: usize = 16;

/// A request as it may be printed, without the values of the operator's headers and the secrets of the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrintedRequest {
    /// `POST /hooks/jobs HTTP/1.1`.
    pub line: String,
    /// Every header, sorted by name.
    pub headers: Vec<(String, String)>,
}

impl PrintedRequest {
    /// Of a request to `url` with a body of this many bytes, with what the HTTP client adds.
    pub(super) fn of<B>(request: &Request<B>, url: &Url, body: usize) -> Self {
        let sent = request.headers().iter().map(|(name, value)| {
            let value = match value.is_sensitive() {
                true => HIDDEN.to_owned(),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.as_str(), value)
        });
        let added = [("host", host(url)), ("content-length", body.to_string())];
        let all = sent.chain(added);
        let mut headers: Vec<_> = all.map(|(name, value)| (name.to_owned(), value)).collect();
        headers.sort();
        Self {
            line: format!("{} {} HTTP/1.1", request.method(), target(url)),
            headers,
        }
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The URL without its query, and with [`HIDDEN`] in the place of each segment of its path that counts as a secret.
#[must_use]
pub fn redacted_url(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    format!("{origin}{}", redacted_path(url))
}

/// Whether a URL holds anything that must not be printed.
#[must_use]
pub fn holds_secrets(url: &Url) -> bool {
    secrets_of(url).next().is_some()
}

/// The parts of a URL that must not be printed or stored: values in its query, parts of the query without a name, and
/// segments of the path that look like secrets.
pub(super) fn secrets_of(url: &Url) -> impl Iterator<Item = &str> {
    let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    values.chain(url.path().split('/').filter(|segment| is_secret(segment)))
}

/// Whether a segment looks generated: long, and with more than one kind of characters.
fn is_secret(segment: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| usize::from(segment.bytes().any(|byte| kind(&byte)));
    let kinds = has(u8::is_ascii_digit) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase);
    segment.len() >= SECRET_SEGMENT && kinds > 1
}

fn redacted_path(url: &Url) -> String {
    let redacted = |segment| if is_secret(segment) { HIDDEN } else { segment };
    let segments: Vec<&str> = url.path().split('/').map(redacted).collect();
    segments.join("/")
}

/// The path, and the names in the query.
fn target(url: &Url) -> String {
    let path = redacted_path(url);
    let Some(query) = url.query() else {
        return path;
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(hidden).collect();
    format!("{path}?{}", query.join("&"))
}
