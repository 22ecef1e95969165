//! The token, and addresses that others can reach.

use std::path::PathBuf;

use serde_json::Value;

use super::raw::{ask_with, port};
use crate::support::world::World;

const FIRST: &str = "first-token-7f3a-9c1e";

const SECOND: &str = "second-token-0d2b-44aa";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A world whose token lies in a file, which is answered too.
async fn with_token(listen: &str) -> (World, PathBuf) {
    let mut world = World::new().await;
    let file = world.database().with_file_name("status_token");
    std::fs::write(&file, format!("{FIRST}\n")).unwrap();
    world.status =
        format!("listen = \"{listen}\"\ntoken_file = {file:?}\nhosts = [\"jobs.internal\"]");
    world.start().await;
    (world, file)
}

#[tokio::test(start_paused = true)]
async fn with_a_token_every_request_but_two_has_to_show_it() {
    let (mut world, _) = with_token("127.0.0.1:0").await;
    let refused = (401, "unauthorized-access".to_owned());
    let (right, lower) = (bearer(FIRST), format!("authorization: bearer {FIRST}"));
    let (wrong, longer) = (bearer(SECOND), bearer(&format!("{FIRST}x")));
    let shorter = bearer(&FIRST[1..]);
    for line in [
        "GET /jobs/none",
        "GET /nowhere",
        "POST /healthz",
        "OPTIONS /readyz",
    ] {
        for headers in [
            &[][..],
            &[wrong.as_str()],
            &[longer.as_str()],
            &[shorter.as_str()],
            &["Authorization: Bearer"],
            &["Authorization: Bearer "],
            &["Authorization: Basic Zmlyc3Q6dG9rZW4="],
            &[FIRST
                .replace("first-token", "Authorization: first-token")
                .as_str()],
            &[right.as_str(), wrong.as_str()],
        ] {
            let answer = ask_with(&mut world, line, headers).await;
            assert_eq!(answer.verdict(), refused, "{line} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), Some("bearer"));
            assert!(!answer.body.contains("none"));
        }
    }
    for header in [&right, &lower] {
        let answer = ask_with(&mut world, "GET /jobs/none", &[header]).await;
        assert_eq!(answer.verdict(), (404, "resource-not-found".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_token_health_is_one_word() {
    let (mut world, _) = with_token("127.0.0.1:0").await;
    for path in ["/healthz", "/readyz"] {
        let line = format!("GET {path}");
        for headers in [&[][..], &[bearer(SECOND).as_str()]] {
            let answer = ask_with(&mut world, &line, headers).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, "{\"status\":\"ok\"}")
            );
        }
        let answer = ask_with(&mut world, &line, &[&bearer(FIRST)]).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let more = ["version", "reasons"].map(|key| body[key].is_null());
        assert_eq!(more, [path == "/readyz", path == "/healthz"]);
        let answer = ask_with(&mut world, &format!("HEAD {path}"), &["Connection: close"]).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_brings_another_token_and_other_names_into_force() {
    let (mut world, file) = with_token("127.0.0.1:0").await;
    let status = async |world: &mut World, token: &str, host: &str| {
        let host = format!("Host: {host}");
        let headers = [bearer(token), host];
        let headers = headers.each_ref().map(String::as_str);
        ask_with(world, "GET /jobs/none", &headers).await.status
    };
    assert_eq!(status(&mut world, FIRST, "jobs.internal").await, 404);
    std::fs::write(&file, SECOND).unwrap();
    world.status = world.status.replace("jobs.internal", "new.internal");
    world.reload();
    assert_eq!(status(&mut world, FIRST, "new.internal").await, 401);
    assert_eq!(status(&mut world, SECOND, "new.internal").await, 404);
    assert_eq!(status(&mut world, SECOND, "jobs.internal").await, 421);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_others_can_reach_keeps_its_token_when_a_reload_would_take_it_away() {
    let (mut world, _) = with_token("0.0.0.0:0").await;
    // Fine for the address it names, which only a restart brings into force.
    world.status = "listen = \"127.0.0.1:0\"".to_owned();
    world.reload();
    let answer = ask_with(&mut world, "GET /jobs/none", &[]).await;
    assert_eq!(answer.status, 401);
    let answer = ask_with(&mut world, "GET /jobs/none", &[&bearer(FIRST)]).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_others_can_reach_goes_by_any_ip_address_and_by_its_names() {
    let (mut world, _) = with_token("0.0.0.0:0").await;
    let here = format!("localhost:{}", port(&mut world));
    for (host, status) in [
        ("10.1.2.3", 200),
        ("10.1.2.3:80", 200),
        ("[fd00::1]:443", 200),
        ("jobs.internal", 200),
        (here.as_str(), 200),
        ("localhost:1", 421),
        ("rebound.example", 421),
        ("10.1.2.3.rebound.example", 421),
    ] {
        let host = format!("Host: {host}");
        let answer = ask_with(&mut world, "GET /readyz", &[&host]).await;
        assert_eq!(answer.status, status, "{host}");
    }
    let headers = ["Host: 10.1.2.3", "Origin: http://10.9.9.9"];
    let answer = ask_with(&mut world, "GET /readyz", &headers).await;
    assert_eq!(answer.status, 403, "an address that is not the one it asks");
}
