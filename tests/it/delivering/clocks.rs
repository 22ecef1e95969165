//! What waits for a time of day when the clock that has set it was a year ahead, and is put right.

use super::{HOUR, MINUTE, SECOND, delivering_world, done};

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

#[tokio::test(start_paused = true)]
async fn a_retry_a_hold_and_a_pause_wait_no_longer_than_they_can_at_most() {
    // A retry waits for its longest entry, a hold for five minutes, a pause for a day; and once as long until it is noticed.
    for (answers, jobs, longest) in [
        (&[(500, "")][..], 1, 3 * MINUTE),
        (&[(500, ""); 3], 3, 10 * MINUTE),
        (&[(429, "60")], 1, 25 * HOUR),
    ] {
        for restarts in [false, true] {
            let lines = "events = [\"job.completed\"]\nretry = [\"1m\", \"1m\", \"1m\"]";
            let mut world = delivering_world(lines, "").await;
            world.sink.reply_in_turn("all", answers);
            world.clock.set_ahead(YEAR_MS);
            world.pass(10 * MINUTE).await;
            for job in 0..jobs {
                done(&mut world, &format!("j{job}")).await;
            }
            world.pass(SECOND / 2).await;
            let tried = world.sink.requests("all").len();
            assert_eq!(tried, answers.len(), "{answers:?}");
            if restarts {
                world.stop().await;
                world.clock.set_ahead(-YEAR_MS);
                world.start().await;
            } else {
                world.clock.set_ahead(-YEAR_MS);
            }
            world.until_ended(longest).await;
            assert_eq!(world.sink.accepted("all").len(), jobs, "{answers:?}");
        }
    }
}
