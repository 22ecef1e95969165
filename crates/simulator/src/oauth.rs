//! `POST /oauth2/token`: the client credentials grant of OAuth 2.0, for dialects that accept a token instead of a key.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::control::Control;
use super::tokens::key_in;
use super::wire::Shown;

pub(super) fn routes() -> Router<Control> {
    Router::new().route("/oauth2/token", post(token))
}

/// The client authenticates with `Basic`, or with `client_secret` in the form. The secret is the simulator's key; if it
/// has none, any secret is accepted. The client's id is not checked.
async fn token(
    State(control): State<Control>,
    headers: HeaderMap,
    form: Bytes,
) -> Result<Json<Value>, Shown> {
    let refuse = |status, error: &str| Shown::json(status, &json!({"error": error}));
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(&form);
        let found = fields.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    if field("grant_type").as_deref() != Some("client_credentials") {
        return Err(refuse(400, "unsupported_grant_type"));
    }
    let by_basic = || {
        let pair = key_in(&headers)?;
        pair.split_once(':').map(|(_, secret)| secret.to_owned())
    };
    let secret = field("client_secret").or_else(by_basic);
    let (settings, now) = (control.settings(), control.now());
    let is_right = match &settings.api_key {
        Some(key) => secret.as_ref() == Some(key),
        None => secret.is_some(),
    };
    if !is_right {
        return Err(refuse(401, "invalid_client"));
    }
    let mut state = control.state();
    let expires = now.plus(settings.token_life);
    let token = state.tokens.issue(None, expires);
    state.log.totals.tokens += 1;
    Ok(Json(json!({
        "access_token": token, "token_type": "Bearer",
        "expires_in": settings.token_life.as_secs(),
    })))
}
