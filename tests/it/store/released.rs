//! Databases that released versions have written, opened by this one.
//!
//! A released migration never changes, and `released/` has a database made by the version that brought it.
//! `released/make.sh` makes the next one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jobtrackd::core::event::EventType;
use jobtrackd::store::{
    EventFilter, Events as _, Intake as _, JobFilter, Jobs as _, Lists as _, NewJob, PAGE_BYTES,
};
use sha2::{Digest as _, Sha384};
use tempfile::TempDir;

use super::bench::{Bench, Outsider};
use super::files::{create, open};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The migrations by number, and the bytes of each.
fn migrations() -> BTreeMap<u32, Vec<u8>> {
    let folder = fs::read_dir(root().join("migrations/sqlite")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let numbered = files.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let number = name.split('_').next().unwrap().parse().unwrap();
        (number, fs::read(&path).unwrap())
    });
    numbered.collect()
}

fn released(number: u32) -> PathBuf {
    root().join(format!("tests/it/store/released/{number:04}.db"))
}

/// A copy of a released database, with a program that looks into it.
pub(crate) async fn copied(number: u32) -> (TempDir, PathBuf, Outsider) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    fs::copy(released(number), &file).unwrap();
    let outsider = Outsider::of(&file).await;
    (folder, file, outsider)
}

/// Every row of every table, by the columns it has.
async fn content(outsider: &mut Outsider, columns: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut content = BTreeMap::new();
    for table in columns {
        let (name, columns) = table.split_once('|').unwrap();
        let query = format!("SELECT {columns} FROM {name} ORDER BY {columns}");
        content.insert(name.to_owned(), outsider.rows(&query).await);
    }
    content
}

const COLUMNS: &str = "SELECT t.name, group_concat('quote(\"' || c.name || '\")')
    FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c
    WHERE t.schema = 'main' AND t.type = 'table' AND t.name <> 'sqlite_schema' AND t.name <> '_sqlx_migrations'
    GROUP BY t.name";

const SCHEMA: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";

#[tokio::test]
async fn every_migration_has_a_database_that_its_version_wrote() {
    for (number, text) in migrations() {
        assert!(
            released(number).is_file(),
            "{} is missing; released/make.sh makes it",
            released(number).display()
        );
        let (_folder, _, mut outsider) = copied(number).await;
        let recorded = "SELECT max(version) FROM _sqlx_migrations";
        assert_eq!(outsider.value(recorded).await, number.to_string());
        let recorded =
            format!("SELECT lower(hex(checksum)) FROM _sqlx_migrations WHERE version = {number}");
        let checksum: String = Sha384::digest(&text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            outsider.value(&recorded).await,
            checksum,
            "migration {number} is released and must not change; write another one"
        );
    }
}

#[tokio::test]
async fn released_databases_hold_everything_that_can_be() {
    for number in migrations().into_keys() {
        let (_folder, _, mut outsider) = copied(number).await;
        for (query, expected) in [
            (
                "SELECT DISTINCT state FROM jobs",
                &["failed", "in-progress", "pending", "success"][..],
            ),
            (
                "SELECT DISTINCT state FROM deliveries",
                &["delivered", "disabled", "exhausted", "pending"],
            ),
            ("SELECT count(*) > 9 FROM attempts", &["1"]),
            ("SELECT count(*) > 9 FROM transitions", &["1"]),
            ("SELECT count(*) > 9 FROM steps", &["1"]),
            ("SELECT count(*) FROM job_changes", &["1"]),
            ("SELECT count(*) FROM upstreams", &["1"]),
            (
                "SELECT count(*) FROM webhooks WHERE disabled_at > 0",
                &["1"],
            ),
            ("PRAGMA journal_mode", &["delete"]),
        ] {
            let mut found = outsider.rows(query).await;
            found.sort();
            assert_eq!(found, expected, "{number}: {query}");
        }
    }
}

#[tokio::test]
async fn a_released_database_is_brought_up_to_date_with_every_row_and_works() {
    let mut fresh = Bench::fresh().await;
    let schema = fresh.outsider.rows(SCHEMA).await;
    for number in migrations().into_keys() {
        let (_folder, file, mut outsider) = copied(number).await;
        let columns = outsider.rows(COLUMNS).await;
        let before = content(&mut outsider, &columns).await;
        assert!(before.len() > 8, "{before:?}");
        outsider.leave().await;

        create(&file).await.unwrap().close().await;
        let store = open(&file).await.unwrap();
        let newest = fresh.store.schema().await.unwrap();
        assert_eq!(store.schema().await.unwrap(), newest);
        let mut outsider = Outsider::of(&file).await;
        assert_eq!(content(&mut outsider, &columns).await, before, "{number}");
        assert_eq!(outsider.rows(SCHEMA).await, schema, "{number}");
        assert_eq!(outsider.value("PRAGMA integrity_check").await, "ok");

        let seen = JobFilter {
            limit: 100,
            ..JobFilter::default()
        };
        let listed = store.list(&seen).await.unwrap();
        assert_eq!(listed.jobs.len(), before["jobs"].len());
        let last = store.newest_change().await.unwrap();
        let job = NewJob {
            id: "another".to_owned(),
            ..NewJob::default()
        };
        assert!(store.enqueue(&job).await.unwrap());
        let changes = store.changes(last, 9).await.unwrap();
        assert_eq!(changes.len(), 1, "{number}");
        store.close().await;
    }
}

#[tokio::test]
async fn events_of_released_versions_say_why_a_job_failed_and_from_the_fourth_on_what_else_they_are_about()
 {
    for number in migrations().into_keys() {
        let (_folder, file, outsider) = copied(number).await;
        outsider.leave().await;
        create(&file).await.unwrap().close().await;
        let store = open(&file).await.unwrap();
        let all = EventFilter {
            limit: 1000,
            bytes: PAGE_BYTES,
            detail: true,
            ..EventFilter::default()
        };
        let page = store.events(&all).await.unwrap();
        assert!(page.complete && page.events.len() > 9, "{number}");
        for event in page.events {
            let has_detail = match event.kind {
                EventType::Completed => false,
                EventType::Failed => true,
                _ => number > 3,
            };
            assert_eq!(event.detail.is_some(), has_detail, "{number}: {event:?}");
        }
        store.close().await;
    }
}
