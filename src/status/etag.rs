//! `ETag` and 304: an answer that the client already has is not sent again.

use std::fmt::Write as _;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

/// Bytes of the hash that are shown; enough that no two bodies share them.
const HASH_BYTES: usize = 16;

/// The tag of an answer with these bytes: a strong one, their hash.
pub(super) fn tag_of(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let mut tag = String::with_capacity(2 * HASH_BYTES + 2);
    tag.push('"');
    for byte in &hash[..HASH_BYTES] {
        // Writing to a text cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// Whether the client already has this one.
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).into_iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// Adds the tag to an answer; 304 if the client already has it.
pub(super) async fn tagged(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let safe = request.method().is_safe();
    let response = next.run(request).await;
    if !safe || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The handlers of such routes answer with bytes in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let tag = tag_of(&body);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        head.headers.insert(header::ETAG, value);
    }
    let revalidate = HeaderValue::from_static("no-cache");
    head.headers.insert(header::CACHE_CONTROL, revalidate);
    if has(&headers, &tag) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_any_and_a_weak_tag_name_what_the_client_has() {
        let tag = tag_of(b"body");
        assert_eq!(tag.len(), 34);
        assert_ne!(tag, tag_of(b"Body"));
        let matches = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, value.parse().unwrap());
            }
            has(&headers, &tag)
        };
        assert!(matches(&["*"]) && matches(&[&tag]) && matches(&[&format!("W/{tag}")]));
        assert!(matches(&[&format!("\"a\" , {tag}")]) && matches(&["\"a\"", &tag]));
        assert!(!matches(&[]) && !matches(&["\"a\""]) && !matches(&[tag.trim_matches('"')]));
    }
}
