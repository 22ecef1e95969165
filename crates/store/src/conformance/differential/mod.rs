//! The same random history in both stores: batches, operators and other programs. Whatever happens, every reading verb answers
//! the same.

mod acts;
mod answers;
mod batches;
mod world;

use proptest::prelude::*;

use super::fixtures::{T0, id};
use super::{Backend as _, InMemory, Sqlite};
use acts::{Act, act};
use jobtrackd_clock::Clock;
use world::World;

const JOBS: [&str; 3] = ["1", "2", "3"];
const WEBHOOKS: [&str; 3] = ["w", "v", "x"];

/// After how many acts everything is compared.
const ASKED_EVERY: usize = 5;

proptest! {
    // Each case is a file of its own. PROPTEST_CASES=4000 makes it five hundred.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_stores_answer_the_same_whatever_happened(acts in proptest::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(history(&acts));
    }
}

/// What one statement does to several rows is noted in the order of the rows.
#[tokio::test(start_paused = true)]
async fn changes_of_one_transaction_have_the_same_order() {
    let inserted = |job| Act::Inserted(job, Some(1));
    let throttled = || Act::Committed(Vec::new(), Vec::new(), 1 | 4);
    for last in [Act::Moved(1, 0), Act::Resumed] {
        let acts = [inserted(2), inserted(0), inserted(1), throttled(), last];
        history(&acts).await;
    }
}

async fn history(acts: &[Act]) {
    let clock = Clock::driven(T0);
    let mut world = World {
        sqlite: Sqlite::fresh(clock.clone()).await,
        memory: InMemory::fresh(clock.clone()).await,
        clock,
        steps: [0; 3],
        late: Vec::new(),
        replays: Vec::new(),
    };
    for (number, act) in acts.iter().enumerate() {
        let (of_sqlite, of_memory) = world.happens(act).await;
        assert_eq!(
            of_memory,
            of_sqlite,
            "what {act:?} answers; before: {:#?}",
            &acts[..number]
        );
        // To ask for everything takes longer than to do something.
        if number % ASKED_EVERY == 0 || number + 1 == acts.len() {
            world.is_the_same(&acts[..=number]).await;
        }
    }
}

impl World {
    async fn is_the_same(&self, after: &[Act]) {
        let now = self.clock.now();
        let of_sqlite = answers::all(self.sqlite.store(), now).await;
        let of_memory = answers::all(self.memory.store(), now).await;
        for (sqlite, memory) in of_sqlite.iter().zip(&of_memory) {
            assert_eq!(memory, sqlite, "after {after:#?}");
        }
        assert_eq!(of_memory.len(), of_sqlite.len());
    }
}
