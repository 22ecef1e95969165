//! One job that changes for ever costs a bounded number of rows, and its end is delivered all the same.

use jobtrackd::simulator::{Phase, Step};
use serde_json::json;

use super::{MINUTE, events};
use crate::polling::SECOND;
use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn a_job_that_never_rests_is_limited_and_still_ends() {
    let mut world = World::new().await;
    "[polling]\nmax_delay = \"1m\"\njitter = 0.0".clone_into(&mut world.more);
    // The steps' events are counted, not sent.
    "events = [\"job.completed\"]".clone_into(&mut world.all);
    world.start().await;
    let steps = |status: &str| -> Vec<Step> {
        (0..600).map(|n| Step::new(n.to_string(), status)).collect()
    };
    let words = ["pending", "in-progress"].iter().cycle().enumerate();
    let mut phases: Vec<Phase> = words
        .take(30)
        .map(|(at, word)| Phase::steps(at as u64 * 1000, &steps(word)))
        .collect();
    phases.push(Phase::steps(150_000, &steps("success")));
    world.tell("j", phases);
    world
        .follow(
            "other",
            &[(0, &[("a", "pending")]), (200_000, &[("a", "success")])],
        )
        .await;
    world.enqueue("j").await;
    world.pass(30 * SECOND).await;
    let row = "SELECT limited, consecutive_errors, last_error FROM jobs WHERE id = 'j'";
    let row = world.rows(row).await.remove(0);
    assert_eq!(row[..2], ["1", "0"]);
    assert!(row[2].contains("only its end is recorded"), "{}", row[2]);
    let counts = "SELECT (SELECT count(*) FROM transitions WHERE job_id = 'j'), (SELECT count(*) FROM events WHERE job_id = 'j')";
    let before = world.rows(counts).await;
    assert_eq!(before, [["9600", "9600"]]);
    let polls = world.polled_at("j").len();
    // A restart knows it.
    world.stop().await;
    world.start().await;
    world.until_ended(5 * MINUTE).await;
    let after = world.polled_at("j").len() - polls;
    assert!((2..=5).contains(&after), "{after} polls, a minute apart");
    assert_eq!(world.rows(counts).await, [["9600", "9601"]]);
    let ends = events(&world, "job.completed");
    assert_eq!(ends.len(), 2);
    let mine = ends
        .iter()
        .find(|end| end["data"]["job_id"] == "j")
        .unwrap();
    assert_eq!(mine["data"]["sequence"], 9601);
    assert_eq!(mine["data"]["job"]["steps"][599]["status"], "success");
}

#[tokio::test(start_paused = true)]
async fn a_percentage_does_not_keep_a_job_at_its_first_delay() {
    let mut world = World::running().await;
    let progress = |percent: u64| {
        let step = Step::new("a", "in-progress").with(json!({"percent": percent}));
        Phase::steps(percent * 1000, &[step])
    };
    world.tell("j", (0..600).map(progress).collect());
    world.enqueue("j").await;
    world.pass(10 * MINUTE).await;
    let polls = world.polled_at("j").len();
    assert!((25..=35).contains(&polls), "{polls} polls");
    let changes: usize = world
        .value("SELECT count(*) FROM transitions")
        .await
        .parse()
        .unwrap();
    assert!(changes >= polls - 1, "each of them is recorded");
}
