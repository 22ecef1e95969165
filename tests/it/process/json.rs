//! What every command writes with `--json`, held against its schema.

use std::collections::BTreeSet;

use super::house::House;
use crate::support::challenges::{ask, done, mfa};
use crate::support::schemas::{COMMANDS, assert_output_fits};

/// A house with one job that has ended and one that waits for a code; the daemon is down, and the API asked for a pause.
async fn used() -> House {
    let mut house = House::new().await;
    house.webhook("next");
    let daemon = house.running().await;
    house.follow("done", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    ask(
        &house.control(),
        "m",
        Some("u1"),
        &mfa("/jobs/m/mfa"),
        &["1234"],
        done(),
    );
    house.sql("INSERT INTO jobs (id) VALUES ('m')").await;
    let sent = "SELECT count(*) FROM events WHERE type = 'job.action_required'";
    house.until(sent, "1").await;
    daemon.stop().await;
    let paused = "INSERT INTO upstreams (origin, paused_until) VALUES ('https://api.example', 9000000000000)";
    house.sql(paused).await;
    house
}

#[tokio::test]
async fn every_command_writes_what_its_schema_says() {
    let house = used().await;
    let copy = house.path("copy.db");
    let copy = copy.to_str().unwrap();
    let mut seen = BTreeSet::new();
    for command in [
        &["migrate"][..],
        &["check"],
        &["doctor"],
        &["enqueue", "new", "a/b"],
        &["list"],
        &["show", "m"],
        &["watch", "done"],
        &["cancel", "new", "nobody"],
        &["resume"],
        &["mfa", "m", "1234"],
        &["webhook", "list"],
        &["webhook", "show", "all"],
        &["webhook", "test", "all"],
        &["webhook", "disable", "all"],
        &["webhook", "enable", "all"],
        &["deliveries"],
        &["events"],
        &["replay", "--job", "done"],
        &["deliveries", "give-up", "--all", "--webhook", "all"],
        &["webhook", "move", "all", "next"],
        &["bench", "--span", "50ms"],
        &["backup", copy],
        &["restore", copy],
    ] {
        let arguments = [command, &["--json"]].concat();
        let mut program = house.command(arguments[0]);
        program.args(&arguments[1..]);
        // The servers of the test go on meanwhile.
        let output = tokio::process::Command::from(program).output().await;
        let output = output.unwrap();
        let out = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(!out.is_empty(), "{arguments:?}: {output:?}");
        seen.extend(assert_output_fits(&arguments, &out));
    }
    let all: BTreeSet<String> = COMMANDS.keys().cloned().collect();
    assert_eq!(seen, all);
}
