//! Rows that another program has spoilt are left out, logged once, and cost the others nothing.

use super::{HOUR, MINUTE, SECOND, delivering_world, done};
use crate::support::world::World;

/// Three jobs whose events the webhook "all" refuses at first.
async fn three() -> World {
    let mut world =
        delivering_world("events = [\"job.completed\"]\nretry = [\"1h\", \"1h\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 2]);
    for job in ["a", "b"] {
        done(&mut world, job).await;
    }
    world.pass(SECOND).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_no_version_wrote_is_left_out_and_causes_no_flood() {
    for spoil in [
        "attempts = 4294967296",
        "attempts = 9223372036854775807, retries_used = 4294967296",
        "job_id = 'no/id'",
        "retries_used = attempts, attempts = 5000000000",
        "rested_ms = 9223372036854775807, attempts = 4294967296",
    ] {
        let mut world = three().await;
        let spoiling = format!(
            "UPDATE deliveries SET {spoil}, next_attempt_at = 1 WHERE event_id IN
             (SELECT id FROM events WHERE job_id = 'a')"
        );
        world.sql(&spoiling).await;
        done(&mut world, "c").await;
        world.pass(2 * HOUR).await;
        assert_eq!(
            world.sink.accepted("all").len(),
            2,
            "{spoil}: those of b and c"
        );
        assert_eq!(world.sink.requests("all").len(), 4, "{spoil}");
        world.stop().await;
        world.start().await;
        done(&mut world, "d").await;
        world.pass(MINUTE).await;
        assert_eq!(world.sink.accepted("all").len(), 3, "{spoil}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_a_webhook_is_forgotten_when_it_cannot_be_read() {
    for spoil in [
        "failures = 4294967296",
        "ramp = 99999999999, held_since = NULL, probe_at = NULL, probe_event = NULL",
        "failing_jobs = '[1]'",
        "rests = 4294967296",
        "held_since = 1, ramp = NULL, probes = 4294967296",
    ] {
        let mut world = three().await;
        world.stop().await;
        world
            .sql(&format!("UPDATE webhooks SET {spoil} WHERE name = 'all'"))
            .await;
        world
            .sql("INSERT INTO webhooks (name) VALUES (CAST(x'ff' AS TEXT))")
            .await;
        world.start().await;
        done(&mut world, "c").await;
        world.pass(MINUTE).await;
        assert_eq!(world.sink.accepted("all").len(), 1, "{spoil}");
        world.until_ended(2 * HOUR).await;
        assert_eq!(world.sink.accepted("all").len(), 3, "{spoil}");
    }
}
