//! Conditional requests (RFC 9110, 13): an answer to a poll has an entity tag, and is 304 for those who have it already.

use std::hash::{DefaultHasher, Hasher};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

/// The entity tag of an answer with this body; the same in every process.
pub(super) fn etag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("\"{:016x}\"", hasher.finish())
}

/// What a request knows already.
pub(super) struct Known(Vec<HeaderValue>);

impl Known {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH).into_iter().cloned();
        Self(match *method {
            Method::GET | Method::HEAD => values.collect(),
            _ => Vec::new(),
        })
    }

    /// The answer, or 304 in its place.
    pub(super) fn answer(&self, response: Response) -> Response {
        let etag = response.headers().get(header::ETAG);
        let is_known = etag.is_some_and(|etag| self.has(etag));
        if response.status() != StatusCode::OK || !is_known {
            return response;
        }
        let (mut head, _) = response.into_parts();
        head.status = StatusCode::NOT_MODIFIED;
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        Response::from_parts(head, Body::empty())
    }

    /// Tags are compared without what makes them weak.
    fn has(&self, etag: &HeaderValue) -> bool {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let etag = etag.to_str().map(strong).unwrap_or_default();
        let lists = self.0.iter().filter_map(|value| value.to_str().ok());
        let mut tags = lists.flat_map(|list| list.split(','));
        tags.any(|tag| tag.trim() == "*" || strong(tag) == etag)
    }
}
