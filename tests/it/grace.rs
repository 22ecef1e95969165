//! How long stopping takes, and what a reload waits for, in paused time.

use std::time::Duration;

use jobtrackd::lifecycle::GRACE;
use jobtrackd::simulator::{Fault, FaultRule};
use tokio::time::Instant;

use crate::support::world::World;

/// A world in which a poll hangs.
async fn hanging() -> World {
    let mut world = World::running().await;
    let hang = FaultRule::new(Fault::Hang).on_job("hung");
    world.control().inject(hang).unwrap();
    world.follow("hung", &[(0, &[("a", "success")])]).await;
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.polled_at("hung").len(), 1);
    let (status, ready) = world.get("/readyz").await;
    assert_eq!((status, ready["polls_in_flight"].as_u64()), (200, Some(1)));
    world
}

#[tokio::test(start_paused = true)]
async fn a_hung_upstream_delays_the_end_by_the_grace_and_the_poll_is_made_again() {
    let mut world = hanging().await;
    let before = Instant::now();
    world.stop().await;
    let took = before.elapsed();
    assert!(
        (GRACE..GRACE + Duration::from_secs(1)).contains(&took),
        "{took:?}"
    );
    world.control().clear_faults();
    world.start().await;
    world.until_ended(Duration::from_secs(60)).await;
    assert_eq!(
        world.sink.kinds("all", "hung"),
        ["job.step_changed", "job.completed"]
    );
}
