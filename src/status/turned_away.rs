//! Why a request is turned away before any route sees it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::envelope::envelope;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    HostMissing,
    Host,
    Origin,
    Token,
    ContentType,
    BodyTooLarge,
    BodySlow,
    BodyBroken,
}

impl TurnedAway {
    pub(super) fn answer(self) -> Response {
        let (status, code, title, detail) = self.parts();
        let mut answer = envelope(status, code, title, detail);
        if self == Self::Token {
            let scheme = HeaderValue::from_static("Bearer");
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        answer
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::HostMissing => (
                StatusCode::BAD_REQUEST,
                "request-not-valid",
                "Request is not valid.",
                "Exactly one Host header is needed.",
            ),
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "host-not-allowed",
                "Host is not allowed.",
                "Ask with the address that status.listen names, or add this name to status.hosts.",
            ),
            Self::Origin => (
                StatusCode::FORBIDDEN,
                "origin-not-allowed",
                "Origin is not allowed.",
                "Pages of other sites may not ask here.",
            ),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "unauthorized-access",
                "Unauthorized access.",
                "Send the header Authorization: Bearer with the token of status.token_file.",
            ),
            Self::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-content-type",
                "Content type is not supported.",
                "Send the header Content-Type: application/json.",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "content-too-large",
                "Content is too large.",
                "A request has at most 65536 bytes after its head.",
            ),
            Self::BodySlow => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "Request took too long.",
                "The whole of a request has to arrive within some seconds.",
            ),
            Self::BodyBroken => (
                StatusCode::BAD_REQUEST,
                "request-not-valid",
                "Request is not valid.",
                "The content broke off.",
            ),
        }
    }
}
