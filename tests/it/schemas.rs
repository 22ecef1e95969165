//! The schemas under `schemas/`, held against every event that the simulator can cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use jobtrackd::core::event::EventType;
use jobtrackd::core::sample::sample;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::{NewJob, Scenario};
use jsonschema::Validator;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use crate::support::schemas::{self, folder, strict, validator};
use crate::support::world::World;

fn schema(kind: EventType) -> Value {
    schemas::schema(&format!("{kind}.json"))
}

fn validators() -> BTreeMap<&'static str, Validator> {
    EventType::iter()
        .map(|kind| (kind.as_str(), validator(&strict(schema(kind)))))
        .collect()
}

#[track_caller]
fn assert_fits(validators: &BTreeMap<&str, Validator>, body: &Value) {
    schemas::assert_fits(&validators[body["type"].as_str().unwrap()], body);
}

#[tokio::test(start_paused = true)]
async fn every_event_of_every_story_of_the_simulator_fits_its_schema() {
    let mut world = World::new().await;
    world.more = "[polling]\ndeadline = \"3h\"\nqueued_delay = \"1h\"\n".to_owned();
    world.start().await;
    for (index, scenario) in Scenario::ALL.iter().enumerate() {
        let id = format!("j{index}");
        world
            .control()
            .create(NewJob::of(*scenario).with_id(&id))
            .unwrap();
        let metadata = if index % 2 == 0 {
            "NULL"
        } else {
            "'{\"customer\":{\"id\":1}}'"
        };
        world
            .sql(&format!(
                "INSERT INTO jobs (id, metadata) VALUES ('{id}', {metadata})"
            ))
            .await;
    }
    // The tracker's own ends: not there, not allowed, cancelled.
    world.enqueue("absent").await;
    world
        .sql("INSERT INTO jobs (id, url) VALUES ('foreign', 'https://elsewhere.example/jobs/1')")
        .await;
    world
        .sql("INSERT INTO jobs (id, not_before) VALUES ('cancelled', 9000000000000)")
        .await;
    world
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'cancelled'")
        .await;
    world.until_ended(Duration::from_secs(4 * 3600)).await;
    let validators = validators();
    let received = world.sink.received();
    let mut kinds = BTreeSet::new();
    let mut failures = BTreeSet::new();
    for each in &received {
        assert_fits(&validators, &each.json());
        kinds.insert(each.event.as_str().to_owned());
        failures.extend(
            each.json()["data"]["failure"]["kind"]
                .as_str()
                .map(str::to_owned),
        );
    }
    let all = EventType::iter().filter(|kind| *kind != EventType::Test);
    let all: BTreeSet<String> = all.map(|kind| kind.to_string()).collect();
    assert_eq!(kinds, all);
    let ends = ["cancelled", "expired", "not_found", "rejected", "step"].map(str::to_owned);
    assert_eq!(failures, BTreeSet::from(ends));
    assert!(received.len() > 150, "{}", received.len());
}

#[test]
fn samples_and_the_examples_in_the_schemas_fit() {
    let validators = validators();
    for kind in EventType::iter() {
        let at = UnixMillis(1_795_359_845_123);
        let event = sample(kind, "test_1", "billing", at).unwrap();
        assert_fits(&validators, &serde_json::from_str(&event.body).unwrap());
        let schema = schema(kind);
        for example in schema["examples"].as_array().unwrap() {
            assert_fits(&validators, example);
        }
    }
}

/// A copy of the value for each key in it, without that key.
fn without_each_key(value: &Value) -> Vec<(String, Value)> {
    let mut copies = Vec::new();
    copies.extend(["type", "timestamp", "data"].map(|key| (String::new(), key.to_owned())));
    for (key, inner) in value["data"].as_object().unwrap() {
        copies.push(("/data".to_owned(), key.clone()));
        if matches!(
            key.as_str(),
            "failure" | "challenge" | "reason" | "transition"
        ) {
            let path = format!("/data/{key}");
            let keys = inner.as_object().unwrap().keys();
            copies.extend(keys.map(|key| (path.clone(), key.clone())));
        }
    }
    let mut broken = Vec::new();
    for (path, key) in copies {
        let mut copy = value.clone();
        let place = copy.pointer_mut(&path).and_then(Value::as_object_mut);
        place.unwrap().remove(&key);
        broken.push((format!("without {path}/{key}"), copy));
    }
    broken
}

#[test]
fn what_lacks_a_key_or_has_a_wrong_one_does_not_fit() {
    for kind in EventType::iter() {
        let schema = schema(kind);
        // As receivers use it, and as strict as we are with ourselves.
        let (open, closed) = (validator(&schema), validator(&strict(schema.clone())));
        let example = &schema["examples"][0];
        for (what, broken) in without_each_key(example) {
            assert!(!open.is_valid(&broken), "{kind} {what}");
        }
        for (path, wrong) in [
            ("/type", json!("job.ended")),
            ("/timestamp", json!("yesterday")),
            ("/data", json!([])),
        ] {
            let mut broken = example.clone();
            *broken.pointer_mut(path).unwrap() = wrong;
            assert!(!open.is_valid(&broken), "{kind} {path}");
        }
        let mut more = example.clone();
        more["data"]["news"] = json!(1);
        assert!(open.is_valid(&more), "{kind}: more keys may come");
        assert!(
            !closed.is_valid(&more),
            "{kind}: and every one that does is described"
        );
    }
}

#[test]
fn the_asyncapi_document_and_the_page_on_events_name_every_schema() {
    let document = fs::read_to_string(folder().join("asyncapi.yaml")).unwrap();
    let page = folder().join("../docs/events-and-receiving.md");
    let page = fs::read_to_string(page).unwrap();
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected = BTreeSet::from(["asyncapi.yaml", "commands.json"].map(str::to_owned));
    for kind in EventType::iter() {
        let file = format!("{kind}.json");
        assert!(document.contains(&format!("$ref: ./{file}")), "{file}");
        assert!(document.contains(&format!("name: {kind}\n")), "{kind}");
        assert!(page.contains(&format!("(../schemas/{file})")), "{file}");
        expected.insert(file);
    }
    assert!(page.contains("(../schemas/asyncapi.yaml)"));
    assert_eq!(files, expected);
}
