//! A request as it is sent, to be looked at: secrets are three asterisks.

use reqwest::{RequestBuilder, Url};

use super::sender::USER_AGENT;

/// Stands for a secret.
const SECRET: &str = "***";

/// A request, ready to be printed. Values of the operator's own headers and of the URL's query are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `POST /hooks/jobs HTTP/1.1`.
    pub line: String,
    /// Every header, sorted by name.
    pub headers: Vec<(String, String)>,
}

impl Shown {
    /// Of a request with a body of so many bytes. What the HTTP client adds by itself is there too.
    pub(super) fn of(request: &RequestBuilder, body: usize) -> Self {
        let built = request.try_clone().and_then(|request| request.build().ok());
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
                    true => SECRET.to_owned(),
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

/// The path, and the names in the query.
fn target(url: &Url) -> String {
    let Some(query) = url.query() else {
        return url.path().to_owned();
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={SECRET}"),
        None => SECRET.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(hidden).collect();
    format!("{}?{}", url.path(), query.join("&"))
}
