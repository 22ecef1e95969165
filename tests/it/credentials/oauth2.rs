//! A daemon whose tokens come from an OAuth 2.0 token endpoint, since a reload.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::json;

use super::{MINUTE, SECOND, assert_absent, endless, token};
use crate::support::world::World;

const SECRET: &str = "canary-client-secret";

/// `jobtrackd` and [`SECRET`].
const CLIENT: &str = "Basic am9idHJhY2tkOmNhbmFyeS1jbGllbnQtc2VjcmV0";

/// A token endpoint that grants this token to the client; its address, and the forms it received.
async fn granting(token: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let forms: Arc<Mutex<Vec<String>>> = Arc::default();
    let received = Arc::clone(&forms);
    let grant = async move |headers: HeaderMap, form: String| -> Response {
        received.lock().push(form);
        let sent = headers.get("authorization").cloned();
        if sent.as_ref().is_none_or(|sent| sent != CLIENT) {
            let said = format!("I know no canary-wrong in {sent:?}");
            let error = json!({"error": "invalid_client", "error_description": said});
            return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
        }
        let granted = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        axum::Json(granted).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/oauth2/token", post(grant));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/oauth2/token"), forms)
}

fn oauth2(token_url: &str, secret: &str) -> String {
    format!(
        "auth = \"oauth2\"\ntoken_url = \"{token_url}\"\nclient_id = \"jobtrackd\"\nclient_secret = \"{secret}\""
    )
}

#[tokio::test(start_paused = true)]
async fn a_reload_takes_another_auth_and_all_jobs_share_its_token() {
    let mut world = World::new().await;
    let token = token(&world).await;
    let (token_url, forms) = granting(token.clone()).await;
    world.upstream = "auth = \"basic\"\napi_key = \"anna:canary-password\"".to_owned();
    world.start().await;
    endless(&mut world, 5).await;
    world.pass(2 * SECOND).await;
    let (status, ready) = world.get("/readyz").await;
    assert_eq!(status, 503, "the API takes no logins: {ready}");

    world.upstream = oauth2(&token_url, "canary-wrong");
    world.reload();
    world.pass(MINUTE).await;
    let (status, ready) = world.get("/readyz").await;
    assert_eq!(status, 503);
    let said = ready.to_string();
    assert!(said.contains("HTTP 401, invalid_client"), "{said}");
    assert!(!said.contains("canary"), "{said}");

    world.upstream = oauth2(&token_url, SECRET);
    world.reload();
    forms.lock().clear();
    world.pass(6 * MINUTE).await;
    assert_eq!(world.get("/readyz").await.1["status"], "ok");
    let states = "SELECT count(*) FROM jobs WHERE state = 'in-progress'";
    assert_eq!(world.value(states).await, "5");
    assert_eq!(*forms.lock(), ["grant_type=client_credentials"]);
    assert_eq!(world.tokens_asked_at().len(), 1, "only the one had by hand");
    world.pass(50 * MINUTE).await;
    assert_eq!(forms.lock().len(), 2, "renewed before its end");
    for secret in [SECRET, "canary", &token] {
        assert_absent(&world, secret);
    }
}
