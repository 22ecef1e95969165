//! Rows that other programs wrote, right or wrong, in any table: the daemon follows every other job to its end.
//!
//! The corpus is SQL, statement by statement as another program would run it; what the schema refuses stays refused.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::{kept, runner};
use crate::support::world::World;

const PATIENCE: Duration = Duration::from_secs(600);
const CASES: u32 = 12;

/// Runs the statements beside a running daemon, and lets it start again on what they left.
fn check(statements: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::running().await;
        for id in ["hostile", "good", "later"] {
            world.make(
                id,
                &[(0, &[("a", "in-progress")]), (3000, &[("a", "success")])],
            );
        }
        world
            .sql("INSERT INTO jobs (id) VALUES ('hostile'), ('good')")
            .await;
        world
            .until(
                PATIENCE,
                "SELECT count(*) > 0 FROM transitions WHERE job_id = 'good'",
                "1",
            )
            .await;
        for statement in statements {
            // The schema refuses most of them.
            let _ = world.try_sql(statement).await;
        }
        world
            .until(
                PATIENCE,
                "SELECT state FROM jobs WHERE id = 'good'",
                "success",
            )
            .await;
        world.kill();
        world.start().await;
        world.sql("INSERT INTO jobs (id) VALUES ('later')").await;
        world
            .until(
                PATIENCE,
                "SELECT state FROM jobs WHERE id = 'later'",
                "success",
            )
            .await;
        for id in ["good", "later"] {
            let sent = world.sink.kinds("all", id);
            assert_eq!(
                sent.last().map(String::as_str),
                Some("job.completed"),
                "{id}: {sent:?}"
            );
        }
    });
}

#[test]
fn rows_that_were_kept_stop_no_other_job() {
    for (path, text) in kept("rows") {
        let text = String::from_utf8(text).unwrap();
        let statements: Vec<String> = text.split(";\n").map(str::to_owned).collect();
        eprintln!("{}", path.display());
        check(&statements);
    }
}

#[test]
fn rows_with_any_values_stop_no_other_job() {
    runner(CASES)
        .run(
            &proptest::collection::vec(statement(), 1..25),
            |statements| {
                check(&statements);
                Ok(())
            },
        )
        .unwrap();
}

type Columns = (&'static str, &'static [&'static str]);

const TABLES: [Columns; 7] = [
    (
        "jobs",
        &[
            "id",
            "url",
            "metadata",
            "webhook",
            "priority",
            "deadline_at",
            "not_before",
            "poll_requested",
            "cancel_requested",
            "last_error",
            "resource",
            "polls",
            "quiet_polls",
            "next_poll_at",
            "remote_updated",
            "failure",
            "state",
        ],
    ),
    (
        "steps",
        &[
            "job_id",
            "title",
            "occurrence",
            "position",
            "status",
            "result",
            "first_seen_at",
            "updated_at",
            "challenge",
        ],
    ),
    (
        "transitions",
        &[
            "job_id",
            "seq",
            "position",
            "title",
            "occurrence",
            "from_status",
            "to_status",
            "observed_at",
        ],
    ),
    (
        "events",
        &["id", "job_id", "sequence", "type", "created_at", "body"],
    ),
    (
        "deliveries",
        &[
            "event_id",
            "webhook",
            "job_id",
            "sequence",
            "state",
            "attempts",
            "next_attempt_at",
            "expires_at",
        ],
    ),
    (
        "webhooks",
        &[
            "name",
            "disabled_at",
            "disabled_reason",
            "paused_until",
            "failures",
            "held_since",
            "probe_at",
            "ramp",
        ],
    ),
    ("upstreams", &["origin", "paused_until"]),
];

/// An INSERT, or an UPDATE of the rows of the job `hostile` or of a table without jobs.
fn statement() -> impl Strategy<Value = String> {
    (
        select(TABLES.to_vec()),
        any::<bool>(),
        proptest::collection::vec(literal(), 20),
        any::<proptest::sample::Index>(),
    )
        .prop_map(|((table, columns), inserts, values, at)| {
            if inserts {
                let values = columns
                    .iter()
                    .zip(&values)
                    .map(|(column, value)| match *column {
                        "job_id" => "'hostile'",
                        _ => value.as_str(),
                    });
                let values: Vec<&str> = values.collect();
                return format!(
                    "INSERT OR IGNORE INTO {table} ({}) VALUES ({})",
                    columns.join(", "),
                    values.join(", ")
                );
            }
            let rows = match table {
                "jobs" => "WHERE id = 'hostile'",
                "steps" | "transitions" | "events" | "deliveries" => "WHERE job_id = 'hostile'",
                _ => "",
            };
            format!(
                "UPDATE OR IGNORE {table} SET {} = {} {rows}",
                at.get(columns),
                values[0]
            )
        })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("NULL".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        select(vec![
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "4102444800000",
            "1e300"
        ])
        .prop_map(str::to_owned),
        select(vec![
            "'all'",
            "'hostile'",
            "'pending'",
            "'in-progress'",
            "'success'",
            "'job.failed'",
            "'job.step_changed'",
            "'{}'",
            "'['",
            "''",
            "x'ff00'",
            "'{\"type\":\"mfa\"}'",
            "'nobody'",
            "'/jobs/1'",
            "CAST(x'6180ff' AS TEXT)",
            "'a' || char(0) || 'b'",
        ])
        .prop_map(str::to_owned),
        ".{0,40}".prop_map(|text| format!("'{}'", text.replace('\'', "''").replace('\0', ""))),
    ]
}
