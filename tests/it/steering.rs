//! What an operator does to webhooks while the daemon runs, through the tables alone, as the commands do it.

mod enabling;
mod giving_up;
mod moving;
mod replaying;

use std::time::Duration;

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::store::{Page, ReplayFilter, Replays as _, Store, Webhooks as _};

use crate::delivering::{delivering_world, done};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The database as another program opens it.
async fn outsider(world: &World) -> Store {
    Store::open(&world.database(), world.clock.clone())
        .await
        .unwrap()
}

/// Everything that happened, as `jobtrackd replay` asks for it.
fn everything() -> ReplayFilter {
    ReplayFilter {
        limit: 10_000,
        ..ReplayFilter::default()
    }
}

/// Does the pages of a piece of work until the last one, and answers how many deliveries it changed.
async fn all_pages<F>(mut page: impl FnMut() -> F) -> u64
where
    F: Future<Output = Result<Page, jobtrackd::store::StoreError>>,
{
    let mut deliveries = 0;
    loop {
        let done = page().await.unwrap();
        deliveries += done.deliveries;
        if done.is_last {
            return deliveries;
        }
    }
}

async fn enable(world: &World, name: &str) -> u64 {
    let (store, name) = (outsider(world).await, WebhookName::new(name));
    let changed = all_pages(|| store.enable_webhook(&name)).await;
    store.leave().await;
    changed
}

async fn disable(world: &World, name: &str) -> u64 {
    let (store, name) = (outsider(world).await, WebhookName::new(name));
    let changed = all_pages(|| store.disable_webhook(&name, "by an operator: test")).await;
    store.leave().await;
    changed
}

/// Replays what the filter names, and answers how many deliveries that were.
async fn replay(world: &World, filter: &ReplayFilter) -> u64 {
    let store = outsider(world).await;
    let mut replay = store.begin_replay(filter).await.unwrap();
    loop {
        let page = store.replayable(filter, replay.reached).await.unwrap();
        replay = store.replay(&replay, &page).await.unwrap().unwrap();
        if page.is_last {
            store.leave().await;
            return replay.deliveries;
        }
    }
}
