//! `bench`: figures of this machine, from processes that leave nothing behind however it ends.

use std::fs;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Said, Shell};
use crate::support::waiting::{PATIENCE, found, until};

/// A measurement that is as short as one can be.
const SHORT: [&str; 3] = ["bench", "--span", "50ms"];

impl Shell {
    /// What is in its folder.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }
}

/// The processes that this one has started.
fn children(of: &Child) -> Vec<i32> {
    let pid = of.id();
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    listed.split_whitespace().flat_map(str::parse).collect()
}

/// Whether a process has ended, even if nobody has asked how.
fn has_ended(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// A measurement that is under way in the folder of the database, and its processes.
async fn under_way(shell: &Shell) -> (Child, Vec<i32>) {
    let mut command = shell.command(&["bench", "--span", "1h"]);
    let streams = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let bench = streams.spawn().unwrap();
    let both = async || Some(children(&bench)).filter(|started| started.len() == 2);
    let started = found(3 * PATIENCE, both).await;
    assert!(!shell.files().is_empty(), "there is a folder");
    (
        bench,
        started.expect("the peers and the daemon are started"),
    )
}

#[test]
fn every_figure_is_measured_and_nothing_is_left_behind() {
    let shell = Shell::empty();
    let folder = shell.folder.path().to_str().unwrap();
    let arguments = [&SHORT[..], &["--directory", folder, "--json"]].concat();
    let [record] = &shell.run(&arguments).done().json()[..] else {
        panic!("one object is printed");
    };
    assert_eq!(record["directory"], folder);
    for rate in ["polls", "ends", "deliveries"] {
        for figure in ["per_second", "daemon_us", "peers_us"] {
            let measured = record[rate][figure].as_f64().unwrap();
            assert!(measured > 0.0, "{rate} {figure}: {record}");
        }
    }
    for times in ["first_request", "commit"] {
        let [half, most] = ["p50_ms", "p99_ms"].map(|each| record[times][each].as_f64().unwrap());
        assert!(0.0 < half && half <= most, "{times}: {record}");
        assert!(record[times]["count"].as_u64() > Some(0), "{record}");
    }
    assert_eq!(shell.files(), [""; 0]);
}

#[test]
fn without_a_folder_the_disk_of_the_configured_database_is_measured_and_the_database_is_not_touched()
 {
    let shell = Shell::migrated();
    let before = fs::read(shell.path()).unwrap();
    let said = shell.run(&SHORT).done();
    let folder = format!(
        "in {} (the folder of the configured database)",
        shell.folder.path().display()
    );
    let unbroken = said.out.replace('\n', " ");
    for part in [&folder, "polls that find", "/s", " µs", " ms"] {
        assert!(unbroken.contains(part), "{part}\n{}", said.out);
    }
    assert_eq!(fs::read(shell.path()).unwrap(), before);
    assert!(shell.files().iter().all(|name| name.starts_with("jobs.db")));
}

#[tokio::test]
async fn a_signal_ends_a_measurement_with_all_its_processes_and_its_folder() {
    let shell = Shell::empty();
    let (bench, started) = under_way(&shell).await;
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    let said = Said::from(bench.wait_with_output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(said.err, "error: the measurement was interrupted\n");
    assert_eq!(shell.files(), [""; 0]);
    assert!(started.into_iter().all(has_ended));
}

#[tokio::test]
async fn the_processes_of_a_measurement_that_is_killed_end_by_themselves() {
    let shell = Shell::empty();
    let (mut bench, started) = under_way(&shell).await;
    bench.kill().unwrap();
    bench.wait().unwrap();
    let all = async || started.iter().all(|pid| has_ended(*pid)).then_some(());
    let ended = found(PATIENCE, all).await;
    assert!(ended.is_some(), "{started:?}");
}

#[tokio::test]
async fn a_daemon_in_a_measurement_stops_at_the_end_of_its_input() {
    let shell = Shell::migrated();
    let mut command = shell.command(&["bench", "--role", "daemon"]);
    let streams = command.env("JOBTRACKD__UPSTREAM__AUTH", "none");
    let streams = streams.env("JOBTRACKD__STATUS__LISTEN", "");
    let streams = streams.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut daemon = streams.stderr(Stdio::null()).spawn().unwrap();
    until("it has taken the lock", || {
        shell.files().contains(&"jobs.db.lock".to_owned())
    })
    .await;
    assert_eq!(daemon.try_wait().unwrap(), None);
    drop(daemon.stdin.take());
    let ended = found(PATIENCE, async || daemon.try_wait().unwrap());
    assert!(ended.await.is_some());
}

#[test]
fn what_cannot_be_measured_is_refused_with_what_to_type() {
    let shell = Shell::migrated();
    let [file, absent] = ["jobs.db", "absent"].map(|name| shell.folder.path().join(name));
    for (folder, says) in [
        (&file, "not a folder; name one"),
        (&absent, "name a folder that exists"),
    ] {
        let said = shell.run(&["bench", "--directory", folder.to_str().unwrap()]);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert!(said.err.contains(says), "{}", said.err);
    }
    let said = shell.run(&["bench", "--seconds=3"]);
    assert_eq!(said.code, 2);
    let mut command = shell.command(&["bench"]);
    let bad = command.env("JOBTRACKD__DATABASE__URL", "postgres://db");
    let said = Said::from(bad.output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (78, ""));
}
