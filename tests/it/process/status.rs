//! The program with its status server on a unix socket.

use std::process::Command;

use serde_json::Value;

use super::house::House;
use super::program::Program;

const TOKEN: &str = "canary-7f3a-9c1e-token";

/// What the doctor finds under this name: the level, and what is said.
async fn finding(mut doctor: Command, check: &str) -> (String, String) {
    doctor.args(["--json", "--offline"]);
    let said = tokio::task::spawn_blocking(move || doctor.output().unwrap());
    let said = String::from_utf8(said.await.unwrap().stdout).unwrap();
    assert!(!said.contains(TOKEN), "{said}");
    let mut findings = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = findings.find(|found| found["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {said}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("level"), text("says"))
}

#[tokio::test]
async fn a_socket_has_one_program_answers_the_doctor_and_survives_a_crash_without_being_in_the_way()
{
    let mut house = House::new().await;
    let path = house.path("status.sock");
    let listen = format!("unix:{}", path.display());
    house.set("status", "listen", &listen);
    house.set("status", "token", TOKEN);
    let program = house.run();
    assert_eq!(program.ready().await, listen);
    let (level, says) = finding(house.command("doctor"), "daemon.ready").await;
    assert_eq!(
        (level.as_str(), says.as_str()),
        ("ok", "the daemon says it is ok")
    );

    let other = format!("sqlite://{}", house.path("other.db").display());
    let mut second = house.command("run");
    second.env("JOBTRACKD__DATABASE__URL", other);
    let ended = Program::start(&mut second).ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let refusal = format!("cannot listen on status.listen = \"{listen}\"");
    assert!(ended.text.contains(&refusal), "{}", ended.text);
    assert!(
        ended
            .text
            .contains("a running program answers on this socket")
    );
    assert!(path.exists());

    program.kill().await;
    assert!(path.exists(), "a crash cleans nothing up");
    let (level, says) = finding(house.command("doctor"), "daemon.ready").await;
    assert_eq!(level, "ok", "{says}");
    let program = house.running().await;
    let ended = program.stop().await;
    assert!(!path.exists());
    assert!(!ended.text.contains(TOKEN), "{}", ended.text);
}
