//! A disk without space: the process stays, says so, and goes on when there is space again.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use jobtrackd::simulator::{NewJob, Phase, Script, Step};

use super::house::{House, PROGRAM, UNFINISHED, get, readyz, rows};
use super::program::Program;
use crate::support::waiting::{PATIENCE, found, until};

/// Mounts a small disk on the folder `$1`, which nobody outside sees, and keeps it there.
const SMALL_DISK: &str =
    "mount -t tmpfs -o size=4m none \"$1\" && echo mounted >&2 && exec sleep 1000";

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

/// A small disk that only those see who are sent there, with a database on it.
struct Island {
    house: House,
    keeper: Program,
    /// The disk through the eyes of its keeper.
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
        command
            .args(["-m", "sh", "-c", SMALL_DISK, "sh"])
            .arg(&disk);
        let keeper = Program::start(&mut command);
        keeper.says("mounted").await;
        Self {
            inside: PathBuf::from(format!("/proc/{}/root{}", keeper.pid, disk.display())),
            house,
            keeper,
        }
    }

    /// Starts the program there.
    fn start(&self, arguments: &[&str]) -> Program {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.keeper.pid.to_string(), PROGRAM]);
        command.arg("--config").arg(self.house.file());
        Program::start(command.args(arguments))
    }

    /// Runs a command of the program there, beside the daemon.
    async fn command(&self, arguments: &[&str]) {
        let ended = self.start(arguments).ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }

    /// Writes until nothing more goes in.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.inside.join("filler")).unwrap();
        for size in [65536, 4096, 1] {
            while filler.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_space(&self) {
        std::fs::remove_file(self.inside.join("filler")).unwrap();
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
    let program = island.start(&["run"]);
    let (house, status) = (&island.house, &program.ready().await);
    house.make("steady", &[(0, &[("a", "in-progress")])]);
    island.command(&["enqueue", "steady", "large"]).await;
    until("polls", || {
        house.asked("steady") > 0 && house.asked("large") > 0
    })
    .await;
    until("the first event", || house.sink.received().len() == 1).await;
    island.fill();
    house.control().create(large()).unwrap();

    let body = readyz(status, 503).await;
    let reason = "the database cannot be written: the disk is full";
    assert_eq!(body["reasons"], serde_json::json!([reason]));
    // Until what was on its way at that moment has arrived, and as long again.
    let mut seen = Vec::new();
    for _ in 0..2 {
        for _ in 0..50 {
            assert_eq!(get(status, "/readyz").await.unwrap().0, 503);
            assert_eq!(get(status, "/healthz").await.unwrap().0, 200);
        }
        seen.push((house.asked("steady"), house.sink.received().len()));
    }
    assert_eq!(seen[0], seen[1]);
    let asked = house.asked("steady");

    island.make_space();
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
    program.says("the database can be written again").await;
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
    program.stop().await;
}

#[tokio::test]
async fn a_daemon_that_finds_the_disk_full_at_its_start_waits_for_space() {
    if let Some(why) = missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let island = Island::new().await;
    island.house.make("1", &[(0, &[("a", "success")])]);
    island.command(&["migrate"]).await;
    island.command(&["enqueue", "1"]).await;
    island.fill();
    let program = island.start(&["run"]);
    let line = program.says("the database cannot be opened yet").await;
    assert!(line.contains("the disk is full"), "{line}");
    island.make_space();
    program.ready().await;
    until("the events", || island.house.sink.received().len() == 2).await;
    program.stop().await;
}

/// A job whose record needs more space than a log that was written before has left.
fn large() -> NewJob {
    let mut step = Step::new("a", "success");
    step.result = Some(serde_json::json!({"type": "link", "url": "x".repeat(100_000)}));
    NewJob::scripted(Script::new(vec![Phase::steps(0, &[step])])).with_id("large")
}
