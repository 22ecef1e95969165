//! A disk without space: the process stays, says so, and goes on when there is space again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use jobtrackd::simulator::{NewJob, Phase, Script, Step};

use super::house::{House, PROGRAM, UNFINISHED, get, readyz, rows};
use super::program::Program;
use crate::support::patience::{PATIENCE, found, until};

/// Takes a mount of its own, then becomes the daemon: `$1` is the folder, `$2` the program, `$3` the configuration.
const ON_A_SMALL_DISK: &str =
    "mount -t tmpfs -o size=4m none \"$1\" && exec \"$2\" --config \"$3\" run";

/// Why this test cannot be had here.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount a small disk");
    }
    let tried = Command::new("unshare").args(["-m", "true"]).status();
    match tried {
        Ok(status) if status.success() => None,
        _ => Some("unshare -m does not work"),
    }
}

/// A daemon whose database is on a disk of its own that no other process sees.
struct Island {
    house: House,
    program: Program,
    status: String,
    /// The disk through the eyes of the daemon.
    inside: PathBuf,
}

impl Island {
    async fn new() -> Self {
        let mut house = House::new().await;
        let disk = house.path("disk");
        std::fs::create_dir(&disk).unwrap();
        let url = format!("sqlite://{}", disk.join("jobs.db").display());
        house.set("database", "url", &url);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", ON_A_SMALL_DISK, "sh"]);
        command.arg(&disk).arg(PROGRAM).arg(house.file());
        let program = Program::start(&mut command);
        Self {
            status: program.ready().await,
            inside: PathBuf::from(format!("/proc/{}/root{}", program.pid, disk.display())),
            house,
            program,
        }
    }

    /// Runs a command of the program beside the daemon.
    async fn command(&self, arguments: &[&str]) {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.program.pid.to_string(), PROGRAM]);
        command
            .arg("--config")
            .arg(self.house.file())
            .args(arguments);
        let ended = Program::start(&mut command).ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }

    /// The database as it is now; nobody may be writing.
    fn copy(&self) -> PathBuf {
        for name in ["jobs.db", "jobs.db-wal"] {
            std::fs::copy(self.inside.join(name), self.house.path(name)).unwrap();
        }
        self.house.database()
    }
}

#[tokio::test]
async fn a_full_disk_stops_polling_and_sending_until_there_is_space_and_loses_nothing() {
    if let Some(why) = missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let island = Island::new().await;
    let (house, status) = (&island.house, &island.status);
    house.make("steady", &[(0, &[("a", "in-progress")])]);
    island.command(&["enqueue", "steady", "large"]).await;
    until("polls", || {
        house.asked("steady") > 0 && house.asked("large") > 0
    })
    .await;
    until("the first event", || house.sink.received().len() == 1).await;
    fill(&island.inside.join("filler"));
    house.control().create(large()).unwrap();

    let body = readyz(status, 503).await;
    let reason = "the database cannot be written: the disk is full";
    assert_eq!(body["reasons"], serde_json::json!([reason]));
    let (asked, told) = (house.asked("steady"), house.sink.received().len());
    for _ in 0..50 {
        assert_eq!(get(status, "/readyz").await.unwrap().0, 503);
        assert_eq!(get(status, "/healthz").await.unwrap().0, 200);
    }
    assert_eq!(
        (house.asked("steady"), house.sink.received().len()),
        (asked, told)
    );

    std::fs::remove_file(island.inside.join("filler")).unwrap();
    readyz(status, 200).await;
    until("polls again", || house.asked("steady") > asked).await;
    island.command(&["cancel", "steady"]).await;
    until("all events", || house.sink.received().len() == 4).await;
    assert_eq!(
        house.sink.kinds("all", "large"),
        ["job.step_changed", "job.completed"]
    );
    assert_eq!(
        house.sink.kinds("all", "steady"),
        ["job.step_changed", "job.failed"]
    );
    island
        .program
        .says("the database can be written again")
        .await;
    let delivered = || {
        let copy = island.copy();
        async move { rows(&copy, UNFINISHED).await == [["0"]] }
    };
    let seen = found(PATIENCE, async || delivered().await.then_some(())).await;
    assert!(seen.is_some(), "everything is recorded");
    let copy = house.database();
    let states = rows(&copy, "SELECT id, state FROM jobs ORDER BY id").await;
    assert_eq!(states, [["large", "success"], ["steady", "failed"]]);
    assert_eq!(rows(&copy, "PRAGMA integrity_check").await, [["ok"]]);
    island.program.stop().await;
}

/// Writes until nothing more goes in.
fn fill(path: &Path) {
    let mut filler = std::fs::File::create(path).unwrap();
    for size in [65536, 4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// A job whose record needs more space than a log that was written before has left.
fn large() -> NewJob {
    let mut step = Step::new("a", "success");
    step.result = Some(serde_json::json!({"type": "link", "url": "x".repeat(100_000)}));
    NewJob::scripted(Script::new(vec![Phase::steps(0, &[step])])).with_id("large")
}
