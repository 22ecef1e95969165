//! Under pressure: nothing is asked or told in a hot loop, nobody starves, and an end stays an end.

use std::time::Duration;

use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

const DONE: &[(u64, &[(&str, &str)])] = &[(0, &[("a", "success")])];

#[tokio::test(start_paused = true)]
async fn a_webhook_that_asks_for_no_rest_at_all_is_not_told_in_a_hot_loop() {
    let mut world = World::new().await;
    world.all.clear();
    world.start().await;
    world.sink.answers("all", &[(429, "0"); 20]);
    world.follow("j", DONE).await;
    world.until_ended(2 * MINUTE).await;
    let times: Vec<i64> = world
        .sink
        .received()
        .iter()
        .map(|each| each.timestamp)
        .collect();
    assert_eq!(times.len(), 21);
    assert!(times[20] - times[0] >= 20, "{times:?}");
}
