//! Reads the beginning of a webhook's answer, within the attempt's limit.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::core::answer::{Answer, Cut, MAX_ANSWER};
use crate::core::redact::Redactor;

/// Reads up to [`MAX_ANSWER`] bytes within `limit`. Only of an answer that ended by then can the connection be used again;
/// otherwise it is dropped. `secrets` are not kept.
pub(super) async fn read(
    mut response: Response<Incoming>,
    secrets: &Redactor,
    limit: Duration,
) -> Option<Answer> {
    let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
    let mut body = Vec::new();
    let cut = match timeout(limit, take(response.body_mut(), &mut body)).await {
        Ok(cut) => cut,
        Err(_) => Some(Cut::TooSlow),
    };
    if is_encoded && !body.is_empty() {
        // No compression was requested, and nothing is decompressed: a small body can be a large text.
        let text = "(compressed; not kept)".to_owned();
        return Some(Answer { text, cut });
    }
    Answer::of(&body, cut, secrets)
}

/// Reads the pieces as they come; returns why some are missing.
async fn take(incoming: &mut Incoming, body: &mut Vec<u8>) -> Option<Cut> {
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            return Some(Cut::Broken);
        };
        // Trailers are not kept.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let room = MAX_ANSWER - body.len();
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() > room {
            return Some(Cut::TooLarge);
        }
    }
    None
}
