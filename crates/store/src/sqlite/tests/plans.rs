//! How SQLite goes about each statement.

mod bulk;
mod deliveries;

use super::*;
use crate::sqlite::commit::{FORGET_CHANGES, TAKE_POLL_REQUESTS};
use crate::sqlite::counts::{
    JOBS_OF_STATE, OLDEST_OF_WEBHOOK, PENDING_OF_WEBHOOK, UNDELIVERED_OF_WEBHOOK,
};
use crate::sqlite::deliveries::{DUE, LIST_DELIVERIES};
use crate::sqlite::events::{
    EVENTS_AFTER, EVENTS_OF_JOB, EVENTS_OF_TYPE, LATEST_EVENTS, NEWEST_EVENT,
};
use crate::sqlite::health::{INVALID, JOBS_HEALTH};
use crate::sqlite::intake::{ACTIVE_JOBS, CHANGES};
use crate::sqlite::jobs::{
    ATTEMPTS, CANCEL, DELIVERIES, DETAIL, ENQUEUE, EVENTS, POLL, RESOURCE, STEPS, STEPS_THAT_WAIT,
    SUMMARY, TRANSITIONS, UNKNOWN_WEBHOOKS,
};
use crate::sqlite::list::{
    IDS_BEGINNING, LIST, LIST_OF_ENDED, LIST_OF_STATE, LISTED, NEWEST_IDS, SEARCH_END,
    SEARCH_END_OF_ENDED, SEARCH_END_OF_STATE,
};
use crate::sqlite::prune::{
    MAY_BE_PRUNED, PRUNABLE, PRUNE_ATTEMPTS, PRUNE_DELIVERIES, PRUNE_EVENTS, PRUNE_STEPS,
    PRUNE_TESTS, PRUNE_TRANSITIONS,
};
use crate::sqlite::replay::REPLAYABLE;
use crate::sqlite::timeline::TIMELINE;
use crate::sqlite::together::{JOBS, STEPS_OF_MANY, TRACKED};
use crate::sqlite::users::JOBS_OF_USER;
use crate::sqlite::watch::{
    DELIVERY_COUNTS, ENDED, FAILING, PROGRESS, RECENTLY_CHANGED, RUNNING, STEPS_OF_PROGRESS,
};
use crate::sqlite::webhooks::{DISABLE_PAGE, ENABLE_DELIVERIES};
use bulk::plans_of_bulk;
use deliveries::PLANS_OF_DELIVERIES;

async fn plan(store: &Store, sql: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let mut writer = SqliteConnection::connect_with(&store.shared.options)
        .await
        .unwrap();
    let rows = sqlx::query(explain).fetch_all(&mut writer).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// Each statement, and what its plan must show.
const PLANS: &[(&str, &str)] = &[
    (
        TAKE_POLL_REQUESTS,
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (FORGET_CHANGES, "USING INTEGER PRIMARY KEY (rowid<?)"),
    (
        PRUNABLE,
        "INDEX jobs_unpruned (pruned=? AND finished_at>? AND finished_at<?)",
    ),
    (PRUNABLE, "SEARCH d USING PRIMARY KEY (event_id=?)"),
    (
        MAY_BE_PRUNED,
        "SEARCH old USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (MAY_BE_PRUNED, "SEARCH d USING PRIMARY KEY (event_id=?)"),
    (PRUNE_ATTEMPTS, "SEARCH a USING PRIMARY KEY (event_id=?)"),
    (PRUNE_DELIVERIES, BY_JOB),
    (PRUNE_EVENTS, BY_JOB),
    (PRUNE_TRANSITIONS, BY_JOB),
    (PRUNE_STEPS, BY_JOB),
    (
        PRUNE_TESTS,
        "SEARCH attempts USING PRIMARY KEY (event_id>? AND event_id<?)",
    ),
    (JOBS_HEALTH, "SEARCH jobs USING INDEX jobs_active"),
    (INVALID, "SEARCH jobs USING INDEX jobs_active"),
    (INVALID, "SEARCH steps USING PRIMARY KEY (job_id=?)"),
    (JOBS_OF_STATE, "COVERING INDEX jobs_by_state (state=?)"),
    (
        PENDING_OF_WEBHOOK,
        "COVERING INDEX deliveries_lanes (webhook=?)",
    ),
    (
        OLDEST_OF_WEBHOOK,
        "COVERING INDEX deliveries_due (webhook=? AND next_attempt_at>?)",
    ),
    (OLDEST_OF_WEBHOOK, "SEARCH e USING INDEX"),
    (
        UNDELIVERED_OF_WEBHOOK,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)",
    ),
    (
        UNDELIVERED_OF_WEBHOOK,
        "SEARCH d USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        ACTIVE_JOBS,
        "SEARCH j USING INDEX jobs_active (finished_at=? AND rowid>?)",
    ),
    (CHANGES, "SEARCH c USING INTEGER PRIMARY KEY (rowid>?)"),
    (
        LIST,
        "SEARCH j USING INDEX jobs_created ((created_at,id)>(?,?) AND (created_at,id)<(?,?))",
    ),
    (
        LIST_OF_STATE,
        "jobs_by_state (state=? AND (created_at,id)>(?,?) AND (created_at,id)<(?,?))",
    ),
    (
        LIST,
        "SEARCH d USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (LIST, "SEARCH steps USING"),
    (
        LISTED,
        "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (
        LIST_OF_ENDED,
        "SEARCH j USING INDEX jobs_finished (finished_at>? AND finished_at<?)",
    ),
    (
        SEARCH_END_OF_ENDED,
        "SEARCH j USING INDEX jobs_finished (finished_at>? AND finished_at<?)",
    ),
    (SEARCH_END, "COVERING INDEX jobs_created ((created_at,id)>"),
    (
        SEARCH_END_OF_STATE,
        "COVERING INDEX jobs_by_state (state=? AND (created_at,id)>",
    ),
    (RUNNING, "COVERING INDEX jobs_active (finished_at=?)"),
    (ENDED, "COVERING INDEX jobs_finished (finished_at>?)"),
    (
        FAILING,
        "SEARCH deliveries USING COVERING INDEX deliveries_lanes (webhook>?)",
    ),
    (
        FAILING,
        "SEARCH d USING INDEX deliveries_due (webhook=? AND next_attempt_at>?)",
    ),
    (
        RECENTLY_CHANGED,
        "SEARCH jobs USING INDEX jobs_finished (finished_at>?)",
    ),
    (
        RECENTLY_CHANGED,
        "SEARCH jobs USING INDEX jobs_active (finished_at=?)",
    ),
    (
        RECENTLY_CHANGED,
        "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (
        PROGRESS,
        "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (DELIVERY_COUNTS, BY_JOB),
    (STEPS_OF_PROGRESS, BY_JOB),
    (UNKNOWN_WEBHOOKS, "SEARCH jobs USING INDEX jobs_active"),
    (JOBS, "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)"),
    (
        TRACKED,
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (
        DETAIL,
        "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (ENQUEUE, "sqlite_autoindex_jobs_1 (id=?)"),
    (CANCEL, "sqlite_autoindex_jobs_1 (id=?)"),
    (POLL, "sqlite_autoindex_jobs_1 (id=?)"),
    (RESOURCE, "sqlite_autoindex_jobs_1 (id=?)"),
    (SUMMARY, "sqlite_autoindex_jobs_1 (id=?)"),
    (NEWEST_EVENT, "SEARCH events"),
    (EVENTS_AFTER, EVENTS_BY_CURSOR),
    (EVENTS_OF_TYPE, EVENTS_BY_CURSOR),
    (
        LATEST_EVENTS,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
    (IDS_BEGINNING, "sqlite_autoindex_jobs_1 (id>? AND id<?)"),
    (EVENTS_OF_JOB, BY_JOB),
    (
        EVENTS_OF_JOB,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
    ),
    (TIMELINE, "(job_id=? AND seq=?)"),
    (TIMELINE, "SEARCH d USING PRIMARY KEY (event_id=?)"),
    (
        TIMELINE,
        "SEARCH e USING INDEX sqlite_autoindex_events_2 (job_id=?)",
    ),
    (
        JOBS_OF_USER,
        "SEARCH u USING PRIMARY KEY (user=? AND (created_at,job_id)<(?,?))",
    ),
    (
        JOBS_OF_USER,
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (STEPS, BY_JOB),
    (STEPS_THAT_WAIT, BY_JOB),
    (STEPS_OF_MANY, BY_JOB),
    (TRANSITIONS, BY_JOB),
    (EVENTS, BY_JOB),
    (DELIVERIES, BY_JOB),
    (ATTEMPTS, BY_JOB),
    ("SELECT * FROM timeline WHERE job_id = ?1", BY_JOB),
    (
        "DELETE FROM jobs WHERE id = ?1",
        "sqlite_autoindex_jobs_1 (id=?)",
    ),
];

/// Rows that were found by an index, at most a page of them.
const PAGE: &str = "SCAN page";

const BY_JOB: &str = "(job_id=?)";
const EVENTS_BY_CURSOR: &str = "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";

/// Holds the pending ones only, and the count of them has a limit.
const COUNTED: &str = "COVERING INDEX deliveries_lanes";

/// What may be read from end to end: it is small, or the reading has a limit.
const FEW: [&str; 15] = [
    PAGE,
    // The rows of a statement.
    "SCAN v",
    "SCAN lane",
    "VIRTUAL TABLE",
    "CONSTANT ROW",
    "(subquery",
    COUNTED,
    // The names of webhooks, one by one.
    "SCAN names",
    "SCAN disabled",
    "SCAN webhooks",
    // A page of deliveries that are handed over.
    "SCAN u",
    // A page of jobs that ended long ago.
    "SCAN old",
    // The latest events, and the jobs they belong to.
    "SCAN latest",
    "SCAN lately",
    "SCAN found",
];

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let (_folder, store) = fresh().await;
    let fixed = PLANS.iter().chain(PLANS_OF_DELIVERIES);
    let fixed = fixed.map(|(sql, expected)| ((*sql).to_owned(), *expected));
    for (sql, expected) in fixed.chain(plans_of_bulk()) {
        let plan = plan(&store, &sql).await;
        assert!(
            plan.iter().any(|line| line.contains(expected)),
            "{sql}: {plan:#?}"
        );
        let scan =
            |line: &&String| line.starts_with("SCAN ") && !FEW.iter().any(|few| line.contains(few));
        assert_eq!(plan.iter().find(scan), None, "{sql}: {plan:#?}");
    }
}

#[tokio::test]
async fn pages_are_read_in_their_order_and_not_sorted() {
    let (_folder, store) = fresh().await;
    for sql in [
        DUE,
        ENABLE_DELIVERIES,
        DISABLE_PAGE,
        LIST_DELIVERIES,
        REPLAYABLE,
        ACTIVE_JOBS,
        CHANGES,
        LIST,
        LIST_OF_STATE,
        SEARCH_END,
        SEARCH_END_OF_STATE,
        NEWEST_IDS,
    ] {
        let plan = plan(&store, sql).await;
        assert!(
            !plan.iter().any(|line| line.contains("TEMP B-TREE")),
            "{sql}: {plan:#?}"
        );
    }
}
