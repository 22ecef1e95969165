//! The OpenAPI document says what the server does.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::client::{answer, get, request};
use crate::support::world::World;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

#[tokio::test(start_paused = true)]
async fn every_documented_route_is_described_and_every_described_route_is_there() {
    let mut world = World::running().await;
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let document = get(&mut world, "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/healthz",
        "/readyz",
        "/jobs",
        "/jobs/{id}",
        "/jobs/{id}/timeline",
        "/events",
        "/stream",
        "/jobs/{id}/stream",
        "/users/{user}/jobs",
        "/openapi.json",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, operations) in paths {
        let real = path.replace("{id}", "j").replace("{user}", "u");
        for method in METHODS {
            if real == "/stream" && method == "get" {
                continue;
            }
            let name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let asking = request(&mut world, name, &real).body("{}");
            let found = answer(&world, asking).await;
            let described = operations.get(method).is_some();
            assert_eq!(
                found.status == 405,
                !described,
                "{method} {path}: {found:?}"
            );
            // Nothing is recorded in a daemon that was not started as a program.
            let absent = found.status == 404 && path != "/metrics";
            assert!(!absent, "{method} {path}: {found:?}");
            if described {
                let responses = &operations[method]["responses"];
                assert!(
                    responses[found.status.to_string()].is_object(),
                    "{method} {path}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn no_route_is_added_beside_the_document() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/status");
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    // The dashboard is for people.
    for path in paths.filter(|path| !path.ends_with("dashboard")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let bare = text.contains("routing::{")
            || text.contains("routing::get")
            || text.contains("routing::post");
        let may = path.ends_with("tests.rs");
        assert_eq!(bare, may, "{}", path.display());
    }
}

#[tokio::test(start_paused = true)]
async fn operations_have_names_of_their_own_and_refer_only_to_what_is_there() {
    let mut world = World::running().await;
    let document = get(&mut world, "/openapi.json").await;
    let json = document.json();
    let operations = json["paths"].as_object().unwrap().values();
    let ids: Vec<&Value> = operations
        .flat_map(|path| METHODS.map(|method| &path[method]["operationId"]))
        .filter(|id| id.is_string())
        .collect();
    let distinct: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    for (at, _) in document.text.match_indices("#/components/schemas/") {
        let name = document.text[at..].split('"').next().unwrap();
        let name = name.rsplit('/').next().unwrap();
        assert!(json["components"]["schemas"][name].is_object(), "{name}");
    }
}
