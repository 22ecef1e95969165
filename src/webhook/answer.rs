//! Reads the beginning of a webhook's answer, within the attempt's limit.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use tokio::time::timeout;

use crate::core::answer::{Answer, Cut, MAX_ANSWER};
use crate::core::redact::Redactor;

/// Reads up to [`MAX_ANSWER`] bytes within `limit`. Only of an answer that ended by then can the connection be used again;
/// otherwise it is dropped. `secrets` are not kept.
pub(super) async fn read(
    mut response: Response,
    secrets: &Redactor,
    limit: Duration,
) -> Option<Answer> {
    let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
    let mut body = Vec::new();
    let cut = match timeout(limit, take(&mut response, &mut body)).await {
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
async fn take(response: &mut Response, body: &mut Vec<u8>) -> Option<Cut> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = MAX_ANSWER - body.len();
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                if chunk.len() > room {
                    return Some(Cut::TooLarge);
                }
            }
            Ok(None) => return None,
            Err(_) => return Some(Cut::Broken),
        }
    }
}
