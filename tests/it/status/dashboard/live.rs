//! The stream behind a page: its parts as they change.

use std::time::Duration;

use reqwest::Method;

use super::{MINUTE, browsing};
use crate::status::client::Listener;
use crate::support::world::World;

async fn watching(world: &mut World, place: &str) -> Listener {
    let request = browsing(world, Method::GET, &format!("/dashboard/live?page={place}"));
    let clock = world.clock.clone();
    Listener::open(request, &clock).await
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_a_page_get_what_has_changed_of_it_and_nothing_else() {
    let mut world = World::running().await;
    world
        .follow(
            "j",
            &[(0, &[("a", "in-progress")]), (20_000, &[("a", "success")])],
        )
        .await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "in-progress")
        .await;
    let one = watching(&mut world, "%2Fdashboard%2Fjobs%2Fj").await;
    let other = watching(&mut world, "%2Fdashboard%2Fjobs%2Fj").await;
    let clock = world.clock.clone();
    one.hears(&clock, "id: commands").await;
    other.hears(&clock, "id: commands").await;
    assert!(!one.text().contains("success"), "{}", one.text());
    world.until_ended(MINUTE).await;
    world.pass(Duration::from_secs(6)).await;
    one.hears(&clock, "data-state=\\\"success\\\"").await;
    other.hears(&clock, "data-state=\\\"success\\\"").await;
    assert_eq!(
        one.field("event")
            .iter()
            .filter(|kind| *kind != "part")
            .count(),
        0
    );
    world.pass(MINUTE).await;
    let quiet = one.field("id").len();
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(one.field("id").len(), quiet, "{}", one.text());
    assert!(one.text().contains(": nothing new"), "{}", one.text());
    world.stop().await;
    one.ended(&clock).await;
    other.ended(&clock).await;
}

#[tokio::test(start_paused = true)]
async fn who_watches_a_page_learns_that_it_is_not_current_and_asks_again_each_hour() {
    let mut world = World::running().await;
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.until_ended(MINUTE).await;
    let one = watching(&mut world, "%2Fdashboard%2Fjobs%2Fj").await;
    let clock = world.clock.clone();
    one.hears(&clock, "id: commands").await;
    assert!(!one.text().contains("event: state"), "{}", one.text());
    world.sql("DELETE FROM jobs").await;
    world.pass(Duration::from_secs(10)).await;
    one.hears(
        &clock,
        "event: state\ndata: \"No such job is tracked here.\"",
    )
    .await;
    world.pass(Duration::from_secs(3600)).await;
    one.hears(&clock, "event: again").await;
    one.ended(&clock).await;
}
