//! Rows that no good program inserts: each costs at most itself, never the daemon or the other jobs.

use super::MINUTE;
use crate::support::world::World;

/// What gets past the INSERT, or in by an UPDATE of columns that are not the enqueuer's to update.
const POISON: [&str; 6] = [
    "INSERT INTO jobs (id, metadata) VALUES ('bytes', CAST(x'7B2261223A22FF227D' AS TEXT))",
    "INSERT INTO jobs (id, webhook) VALUES ('hook-bytes', CAST(x'FF' AS TEXT))",
    "INSERT INTO jobs (id, webhook) VALUES ('hook-nul', CAST(x'610062' AS TEXT))",
    "INSERT INTO jobs (id) VALUES ('url'); UPDATE jobs SET url = CAST(x'2FFF' AS TEXT) WHERE id = 'url'",
    "INSERT INTO jobs (rowid, id) VALUES (-5, 'negative')",
    "INSERT INTO jobs (id, priority, not_before, deadline_at) VALUES ('extremes', -9223372036854775808, 1000000000000, 9223372036854775807)",
];

/// What the schema keeps out.
const REFUSED: [&str; 3] = [
    "INSERT INTO jobs (id, webhook) VALUES ('hook-empty', '')",
    "INSERT INTO jobs (id) VALUES ('later'); UPDATE jobs SET metadata = 'no json' WHERE id = 'later'",
    "INSERT INTO jobs (id, priority, not_before, deadline_at) VALUES ('extremes', -9223372036854775808, -1, 9223372036854775807)",
];

#[tokio::test(start_paused = true)]
async fn a_poisonous_row_does_not_stop_the_daemon_or_the_other_jobs() {
    for poison in POISON {
        let mut world = World::running().await;
        let ids = [
            "bytes",
            "hook-bytes",
            "hook-nul",
            "url",
            "negative",
            "extremes",
        ];
        for id in ids {
            world.make(id, &[(0, &[("a", "success")])]);
        }
        world.sql(poison).await;
        world.follow("healthy", &[(0, &[("a", "success")])]).await;
        let ended = "SELECT state FROM jobs WHERE id = 'healthy'";
        world.until(MINUTE, ended, "success").await;
        world.pass(MINUTE).await;
        let unfinished = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";
        assert_eq!(world.value(unfinished).await, "0", "{poison}");
        world.stop().await;
        world.start().await;
        world.follow("after", &[(0, &[("a", "success")])]).await;
        world
            .until(
                MINUTE,
                "SELECT state FROM jobs WHERE id = 'after'",
                "success",
            )
            .await;
        // Its state is committed before the first byte is sent.
        let pending =
            "SELECT count(*) FROM deliveries WHERE job_id = 'after' AND state = 'pending'";
        world.until(MINUTE, pending, "0").await;
        assert_eq!(world.sink.kinds("all", "after").len(), 2, "{poison}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_schema_keeps_some_poisonous_rows_out() {
    let mut world = World::running().await;
    for poison in REFUSED {
        world.try_sql(poison).await.expect_err(poison);
    }
}
