//! Why a request is refused; each dialect has a body of its own for it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A refusal. Handlers return it without its body: the middleware adds that, with a correlation id.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
    pub(super) parameter: Option<&'static str>,
}

const fn error(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
) -> ApiError {
    ApiError {
        status,
        code,
        title,
        detail,
        parameter: None,
    }
}

#[rustfmt::skip]
impl ApiError {
    pub(super) const UNAUTHORIZED: Self = error(StatusCode::UNAUTHORIZED, "unauthorized-access", "Unauthorized Access", "You are not authorized to access this resource");
    pub(super) const UNKNOWN_TOKEN: Self = error(StatusCode::UNAUTHORIZED, "invalid-authorization-token", "Invalid authorization token.", "Unauthorized access");
    pub(super) const EXPIRED_TOKEN: Self = error(StatusCode::FORBIDDEN, "access-denied", "Access denied", "Token has expired");
    pub(super) const FORBIDDEN: Self = error(StatusCode::FORBIDDEN, "forbidden-access", "Forbidden Access", "Access to this resource is forbidden.");
    pub(super) const NOT_FOUND: Self = error(StatusCode::NOT_FOUND, "resource-not-found", "Requested resource is not found.", "Resource not found.");
    pub(super) const NO_ROUTE: Self = error(StatusCode::NOT_FOUND, "resource-not-found", "Requested resource is not found.", "Route not found for this API version.");
    pub(super) const METHOD: Self = error(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", "The method is not allowed for this resource.");
    pub(super) const ACCEPT: Self = error(StatusCode::BAD_REQUEST, "unsupported-accept", "Unsupported accept type", "Accept type is not supported. Use application/json.");
    pub(super) const FULL: Self = error(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", "The simulator is full of unfinished jobs.");
    pub(super) const ENDED: Self = error(StatusCode::CONFLICT, "conflict", "Conflict", "The job has ended already.");
    const TOO_MANY: Self = error(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", "Query limit reached. Reduce request frequency and try again later.");
    const GONE: Self = error(StatusCode::GONE, "resource-no-longer-available", "Resource no longer available", "The resource is no longer available.");

    // Only of `POST /token`.
    pub(super) const CONTENT_TYPE: Self = Self::of_parameter("content-type", "unsupported-content-type", "Parameter value is not valid.", "Content type is not supported. Use application/x-www-form-urlencoded.");
    pub(super) const TOKEN_SCHEME: Self = error(StatusCode::BAD_REQUEST, "invalid-authorization-request", "Authorization failed", "Invalid authorization header");
    pub(super) const TOKEN_LIMIT: Self = error(StatusCode::FORBIDDEN, "request-not-valid", "Authorization failed", "Invalid request");
    pub(super) const TOKEN_KEY: Self = error(StatusCode::NOT_FOUND, "resource-not-found", "Authorization failed", "Unable to authenticate. Please, check your API key");
}

impl ApiError {
    /// A parameter whose value is not valid.
    pub(super) const fn invalid(parameter: &'static str, detail: &'static str) -> Self {
        let title = "Parameter value is not valid.";
        Self::of_parameter(parameter, "parameter-not-valid", title, detail)
    }

    /// A parameter that is missing.
    pub(super) const fn missing(parameter: &'static str, detail: &'static str) -> Self {
        let title = "Required parameter not supplied";
        Self::of_parameter(parameter, "parameter-not-supplied", title, detail)
    }

    const fn of_parameter(
        parameter: &'static str,
        code: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        Self {
            parameter: Some(parameter),
            ..error(StatusCode::BAD_REQUEST, code, title, detail)
        }
    }

    /// The API's usual error with this status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (code, title, detail) = match status.as_u16() {
            401 => return Self::UNAUTHORIZED,
            403 => return Self::FORBIDDEN,
            404 => return Self::NOT_FOUND,
            405 => return Self::METHOD,
            410 => return Self::GONE,
            429 => return Self::TOO_MANY,
            400..500 => (
                "request-not-valid",
                "Request not valid",
                "The request is not valid.",
            ),
            503 => (
                "service-unavailable",
                "Service unavailable",
                "Service is currently unavailable. Please try again later.",
            ),
            _ => (
                "internal-server-error",
                "Internal server error",
                "Internal server error. Please contact support.",
            ),
        };
        error(status, code, title, detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// JSON that is already text.
pub(super) fn json_text(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
