//! A request as it is sent, to be looked at: secrets are three asterisks.

use reqwest::{RequestBuilder, Url};

use super::sender::USER_AGENT;
use crate::core::redact::HIDDEN;

/// Shortest segment of a path that is taken for a secret, in bytes.
const SECRET_SEGMENT: usize = 16;

/// A request, ready to be printed. Values of the operator's own headers and secrets of the URL are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `POST /hooks/jobs HTTP/1.1`.
    pub line: String,
    /// Every header, sorted by name.
    pub headers: Vec<(String, String)>,
}

impl Shown {
    /// Of a request with a body of so many bytes. What the HTTP client adds by itself is there too.
    pub(super) fn of(request: Option<&RequestBuilder>, body: usize) -> Self {
        let copy = request.and_then(RequestBuilder::try_clone);
        let built = copy.and_then(|request| request.build().ok());
        let Some(request) = built else {
            return Self {
                line: String::new(),
                headers: Vec::new(),
            };
        };
        let mut headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| {
                let value = match value.is_sensitive() {
                    true => HIDDEN.to_owned(),
                    false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                };
                (name.as_str().to_owned(), value)
            })
            .collect();
        let mut added = vec![
            ("host", host(request.url())),
            ("user-agent", USER_AGENT.to_owned()),
            ("content-length", body.to_string()),
        ];
        if !request.headers().contains_key("accept") {
            added.push(("accept", "*/*".to_owned()));
        }
        headers.extend(
            added
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        headers.sort();
        Self {
            line: format!("{} {} HTTP/1.1", request.method(), target(request.url())),
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

/// The URL without its query, and with [`HIDDEN`] in the place of each segment of its path that is taken for a secret.
#[must_use]
pub fn shown_url(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    format!("{origin}{}", shown_path(url))
}

/// Whether anything of a URL must not be shown.
#[must_use]
pub fn holds_secrets(url: &Url) -> bool {
    secrets_of(url).next().is_some()
}

/// What of a URL must not be shown or kept: the values in its query, or parts of it without a name, and the segments of
/// its path that look like secrets.
pub(super) fn secrets_of(url: &Url) -> impl Iterator<Item = &str> {
    let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    values.chain(url.path().split('/').filter(|segment| is_secret(segment)))
}

/// Whether a segment looks like chosen by a machine: long, and of more than one kind of characters.
fn is_secret(segment: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| usize::from(segment.bytes().any(|byte| kind(&byte)));
    let kinds = has(u8::is_ascii_digit) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase);
    segment.len() >= SECRET_SEGMENT && kinds > 1
}

fn shown_path(url: &Url) -> String {
    let shown = |segment| if is_secret(segment) { HIDDEN } else { segment };
    let segments: Vec<&str> = url.path().split('/').map(shown).collect();
    segments.join("/")
}

/// The path, and the names in the query.
fn target(url: &Url) -> String {
    let path = shown_path(url);
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
