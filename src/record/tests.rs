//! `schemas/commands.json`, made from the records.

use std::path::Path;
use std::{env, fs};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::command::{
    BackupRecord, BenchRecord, CancelRecord, CheckRecord, EnqueueRecord, FindingRecord,
    GiveUpRecord, MfaRecord, MigrateRecord, MoveRecord, ReplayRecord, RestoreRecord, ResumeRecord,
    SwitchRecord, TestRecord,
};
use super::timeline::CommittedEventRecord;
use super::watch::Change;
use super::webhook::{JobWebhookRecord, ListedWebhookRecord, WebhookRecord};
use super::*;

/// What `show` writes, list by list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
struct ShownRecord<'a> {
    #[serde(flatten)]
    job: DetailRecord<'a>,
    /// In order.
    transitions: Vec<ObservedRecord<'a>>,
    /// In order.
    events: Vec<EventRecord<'a>>,
    /// In order of sequence, then webhook.
    deliveries: Vec<DeliveryRecord<'a>>,
    /// In order of time.
    attempts: Vec<SentRecord<'a>>,
    /// Those that have events of the job.
    webhooks: Vec<JobWebhookRecord<'a>>,
}

#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    /// The record that a command writes, once or line by line.
    fn with<T: ToSchema>(mut self, command: &str) -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        for (name, schema) in schemas {
            let schema = serde_json::to_string(&schema).unwrap();
            let schema = schema.replace("#/components/schemas/", "#/$defs/");
            let schema: Value = serde_json::from_str(&schema).unwrap();
            let other = self.0.insert(name.clone(), schema.clone());
            assert!(
                other.is_none_or(|other| other == schema),
                "two are called {name}"
            );
        }
        let entry = json!({"$ref": format!("#/$defs/{}", T::name())});
        assert_eq!(self.0.insert(command.to_owned(), entry), None);
        self
    }
}

fn document() -> Value {
    let definitions = Definitions::default()
        .with::<BackupRecord<'_>>("backup")
        .with::<BenchRecord<'_>>("bench")
        .with::<CancelRecord<'_>>("cancel")
        .with::<CheckRecord>("check")
        .with::<ListedDeliveryRecord<'_>>("deliveries")
        .with::<GiveUpRecord<'_>>("deliveries-give-up")
        .with::<FindingRecord<'_>>("doctor")
        .with::<EnqueueRecord<'_>>("enqueue")
        .with::<CommittedEventRecord<'_>>("events")
        .with::<JobRecord<'_>>("list")
        .with::<MfaRecord<'_>>("mfa")
        .with::<MigrateRecord<'_>>("migrate")
        .with::<ReplayRecord<'_>>("replay")
        .with::<RestoreRecord<'_>>("restore")
        .with::<ResumeRecord<'_>>("resume")
        .with::<ShownRecord<'_>>("show")
        .with::<Change<'_>>("watch")
        .with::<SwitchRecord<'_>>("webhook-disable")
        .with::<SwitchRecord<'_>>("webhook-enable")
        .with::<ListedWebhookRecord<'_>>("webhook-list")
        .with::<MoveRecord<'_>>("webhook-move")
        .with::<WebhookRecord<'_>>("webhook-show")
        .with::<TestRecord<'_>>("webhook-test");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:jobtrackd:commands:1",
        "title": "What the commands of jobtrackd write with --json",
        "description": "One object per line. Each command has an entry in $defs under its name, such as webhook-list. \
                        More keys may come: ignore those you do not know.",
        "$defs": definitions.0,
    })
}

#[test]
fn the_schemas_of_the_commands_are_those_of_the_records() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/commands.json");
    let text = format!("{:#}\n", document());
    if env::var_os("WRITE_SCHEMAS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&file).is_ok_and(|written| written == text),
        "schemas/commands.json is not up to date; write it with: WRITE_SCHEMAS=1 cargo test --lib record::"
    );
}
