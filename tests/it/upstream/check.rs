//! What `check` makes of an API, and of what is none.

use jobtrackd::upstream::{Auth, CheckError, TokenTrouble};

use super::server::{JOB, envelope, reply};
use super::token::{granting, refusing};
use super::{basiq, client_of};

#[tokio::test(start_paused = true)]
async fn the_check_says_precisely_what_is_wrong() {
    let good = granting(3600, |_| {
        reply(404, "", envelope("resource-not-found", "Not found"))
    })
    .await;
    let checked = client_of(&good, basiq("a2V5")).check().await.unwrap();
    assert_eq!(
        checked.summary,
        "a token was granted and is accepted; a job that does not exist is answered HTTP 404, as expected"
    );

    let bad_key = refusing(
        404,
        "",
        envelope("resource-not-found", "check your API key"),
    )
    .await;
    let error = client_of(&bad_key, basiq("a2V5"))
        .check()
        .await
        .unwrap_err();
    let CheckError::Token(token) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(token.trouble, TokenTrouble::Refused { .. }));
    assert!(error.to_string().contains("check your API key"));

    let throttled = refusing(429, "retry-after: 60\r\n", String::new()).await;
    let error = client_of(&throttled, basiq("a2V5"))
        .check()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("throttles us: HTTP 429"),
        "{error}"
    );

    let scope = granting(3600, |_| {
        reply(403, "", envelope("forbidden-access", "Forbidden"))
    })
    .await;
    let error = client_of(&scope, basiq("a2V5")).check().await.unwrap_err();
    assert!(matches!(error, CheckError::Forbidden(_)), "{error:?}");

    let page = refusing(502, "", "<html>".into()).await;
    let error = client_of(&page, Auth::None).check().await.unwrap_err();
    assert_eq!(error, CheckError::NoAnswer("HTTP 502".into()));
}

#[tokio::test(start_paused = true)]
async fn a_page_a_wrong_path_and_a_success_for_what_is_not_there_are_not_the_api() {
    let not_there = envelope(
        "resource-not-found",
        "Route not found for this API version.",
    );
    let login = "<!doctype html><form>".to_owned();
    for (status, body, says) in [
        (200, login.clone(), "HTTP 200, but the answer is not JSON"),
        (
            200,
            JOB.to_owned(),
            "a job that does not exist is answered with success",
        ),
        (404, login.clone(), "HTTP 404, not in the API's own words"),
        (404, String::new(), "HTTP 404, not in the API's own words"),
        (400, login, "HTTP 400, not in the API's own words"),
        (
            404,
            not_there,
            "HTTP 404, resource-not-found: Route not found",
        ),
        (302, String::new(), "HTTP 302, a redirect"),
    ] {
        let server = granting(3600, move |_| reply(status, "", &body)).await;
        let error = client_of(&server, basiq("a2V5")).check().await.unwrap_err();
        assert!(matches!(error, CheckError::NotTheApi(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        assert!(
            text.contains("is the path of upstream.base_url right"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_path_is_found_at_the_token_endpoint_already_and_is_not_the_keys_fault() {
    let no_route = envelope(
        "resource-not-found",
        "Route not found for this API version.",
    );
    for (status, body) in [
        (404, no_route),
        (404, "<html>".to_owned()),
        (200, "<html>".to_owned()),
    ] {
        let server = refusing(status, "", body).await;
        let error = client_of(&server, basiq("a2V5")).check().await.unwrap_err();
        assert!(matches!(error, CheckError::NotTheApi(_)), "{error:?}");
        assert!(error.to_string().contains("upstream.base_url"), "{error}");
    }
}
