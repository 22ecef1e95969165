//! Root, and a folder that others may write: what they plant there leads root nowhere.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::house::{PROGRAM, rows};
use super::program::{Ended, Program};

/// The daemon's user, to whom the folder belongs.
const KEEPER: u32 = 4710;

/// The group of those who may enqueue.
const QUEUE: u32 = 4711;

/// One of them.
const MEMBER: u32 = 4712;

const PRECIOUS: &str = "root's own";

/// A folder as the shipped unit has it, and one of root's beside it, with a file that nobody else may touch.
struct Host {
    folder: TempDir,
}

impl Host {
    /// `None`, with the reason on standard error, when this is not root.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root has this privilege to lose");
            return None;
        }
        let host = Self {
            folder: TempDir::new().unwrap(),
        };
        fs::create_dir(host.state()).unwrap();
        chown(host.state(), Some(KEEPER), Some(QUEUE)).unwrap();
        fs::set_permissions(host.state(), Permissions::from_mode(0o2770)).unwrap();
        fs::create_dir(host.outside()).unwrap();
        fs::write(host.precious(), PRECIOUS).unwrap();
        fs::set_permissions(host.precious(), Permissions::from_mode(0o600)).unwrap();
        Some(host)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn precious(&self) -> PathBuf {
        self.outside().join("precious")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup.db")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env_clear()
            .env("JOBTRACKD__UPSTREAM__AUTH", "none")
            .env("JOBTRACKD__UPSTREAM__BASE_URL", "http://127.0.0.1:1")
            .env("JOBTRACKD__STATUS__LISTEN", "127.0.0.1:0")
            .env(
                "JOBTRACKD__DATABASE__URL",
                format!("sqlite://{}", self.at("jobs.db").display()),
            );
        command
    }

    async fn root(&self, arguments: &[&str]) -> Ended {
        Program::start(&mut self.command(arguments)).ended().await
    }

    async fn done(&self, arguments: &[&str]) {
        let ended = self.root(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.text);
    }

    /// Makes the database, and a backup of it with the job `kept`.
    async fn with_backup(&self) {
        self.done(&["migrate"]).await;
        self.done(&["enqueue", "kept"]).await;
        self.done(&["backup", self.backup().to_str().unwrap()])
            .await;
    }

    /// Everything of root's that could have been touched.
    fn roots(&self) -> (BTreeSet<PathBuf>, String, [u32; 3]) {
        let names = fs::read_dir(self.outside()).unwrap();
        let found = fs::metadata(self.precious()).unwrap();
        (
            names.map(|entry| entry.unwrap().path()).collect(),
            fs::read_to_string(self.precious()).unwrap(),
            [found.uid(), found.gid(), found.mode() & 0o7777],
        )
    }

    /// The same of a file in the folder: owner, group and mode.
    #[track_caller]
    fn assert_kept(&self, name: &str, mode: u32) {
        let found = fs::symlink_metadata(self.at(name)).unwrap();
        let dress = [found.uid(), found.gid(), found.mode() & 0o7777];
        assert_eq!(dress, [KEEPER, QUEUE, mode], "{name}");
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// How a member of the group can make a name lead to a file of root.
#[derive(Debug, Clone, Copy)]
enum Plant {
    Link,
    /// As one that the member has found somewhere and moved here.
    LinkOfRoot,
    /// Where the system does not forbid it (`fs.protected_hardlinks`).
    SecondName,
}

impl Plant {
    fn put(self, at: &Path, to: &Path) {
        drop(fs::remove_file(at));
        match self {
            Self::Link => {
                symlink(to, at).unwrap();
                lchown(at, Some(MEMBER), Some(QUEUE)).unwrap();
            }
            Self::LinkOfRoot => symlink(to, at).unwrap(),
            Self::SecondName => fs::hard_link(to, at).unwrap(),
        }
    }
}

#[tokio::test]
async fn what_root_does_in_the_folder_of_the_daemons_user_belongs_to_that_user() {
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    host.assert_kept("jobs.db", 0o660);
    let copy = fs::metadata(host.backup()).unwrap();
    assert_eq!([copy.uid(), copy.mode() & 0o7777], [0, 0o600]);

    host.done(&["cancel", "kept"]).await;
    fs::set_permissions(host.at("jobs.db"), Permissions::from_mode(0o640)).unwrap();
    host.done(&["restore", host.backup().to_str().unwrap()])
        .await;
    host.assert_kept("jobs.db", 0o640);
    host.assert_kept("jobs.db.lock", 0o640);
    let requested = "SELECT cancel_requested FROM jobs";
    assert_eq!(rows(&host.at("jobs.db"), requested).await, [["0"]]);
    let names = host.names();
    let previous = names.iter().find(|name| name.contains("before-restore"));
    host.assert_kept(previous.unwrap(), 0o640);
    assert_eq!(names.len(), 3, "{names:?}");

    // And back again, from a file in that folder.
    let previous = host.at(previous.unwrap());
    host.done(&["restore", previous.to_str().unwrap()]).await;
    assert_eq!(rows(&host.at("jobs.db"), requested).await, [["1"]]);
}

#[tokio::test]
async fn a_database_that_a_member_has_put_there_is_taken_over_by_the_folders_owner() {
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    fs::write(host.at("jobs.db"), "").unwrap();
    chown(host.at("jobs.db"), Some(MEMBER), Some(QUEUE)).unwrap();
    fs::set_permissions(host.at("jobs.db"), Permissions::from_mode(0o4777)).unwrap();
    host.done(&["restore", host.backup().to_str().unwrap()])
        .await;
    host.assert_kept("jobs.db", 0o660);
}

#[tokio::test]
async fn a_group_that_the_owner_has_given_the_database_stays_its_group() {
    const OTHER: u32 = 4713;
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    chown(host.at("jobs.db"), None, Some(OTHER)).unwrap();
    host.done(&["restore", host.backup().to_str().unwrap()])
        .await;
    let restored = fs::metadata(host.at("jobs.db")).unwrap();
    let dress = [restored.uid(), restored.gid(), restored.mode() & 0o7777];
    assert_eq!(dress, [KEEPER, OTHER, 0o660]);
}

#[tokio::test]
async fn a_daemon_that_root_starts_runs_as_the_folders_owner_in_every_thread() {
    let Some(host) = Host::new() else { return };
    let program = Program::start(&mut host.command(&["run"]));
    program.ready().await;
    let threads = fs::read_dir(format!("/proc/{}/task", program.pid)).unwrap();
    let mut seen = 0;
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for (line, id) in [("Uid:", KEEPER), ("Gid:", QUEUE)] {
            let found = status.lines().find(|found| found.starts_with(line));
            let expected = format!("{line}\t{id}\t{id}\t{id}\t{id}");
            assert_eq!(found, Some(expected.as_str()));
        }
        seen += 1;
    }
    assert!(seen > 3, "{seen} threads");
    program.stop().await;
    host.assert_kept("jobs.db", 0o660);
    host.assert_kept("jobs.db.lock", 0o640);
}

#[tokio::test]
async fn links_that_are_planted_in_the_folder_lead_root_to_nothing_outside() {
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    let (before, backup) = (host.roots(), host.backup());
    let backup = backup.to_str().unwrap();
    let commands: [&[&str]; 6] = [
        &["restore", backup],
        &["backup", "--force", backup],
        &["migrate"],
        &["enqueue", "1"],
        &["doctor", "--offline"],
        &["run"],
    ];
    for name in [
        "jobs.db",
        "jobs.db-wal",
        "jobs.db-shm",
        "jobs.db-journal",
        "jobs.db.lock",
    ] {
        for plant in [Plant::Link, Plant::LinkOfRoot, Plant::SecondName] {
            for command in commands {
                let concerned = name != "jobs.db.lock" || ["restore", "run"].contains(&command[0]);
                if !concerned {
                    continue;
                }
                plant.put(&host.at(name), &host.precious());
                let ended = host.root(command).await;
                let what = format!("{plant:?} at {name}, {command:?}: {}", ended.text);
                assert_eq!(ended.code, Some(1), "{what}");
                let wrong = [
                    "symbolic link",
                    "hard link",
                    "a file of its own",
                    "hard links",
                ];
                let said = wrong.iter().any(|wrong| ended.text.contains(wrong))
                    || command[0] == "doctor" && ended.text.contains("the doctor found");
                assert!(said, "{what}");
                fs::remove_file(host.at(name)).unwrap();
                assert_eq!(host.roots(), before, "{what}");
                assert!(
                    !host.names().iter().any(|name| name.starts_with('.')),
                    "{what}"
                );
            }
        }
        if name == "jobs.db" {
            host.done(&["restore", backup]).await;
        }
    }
    host.done(&["restore", backup]).await;
    assert_eq!(
        rows(&host.at("jobs.db"), "SELECT id FROM jobs").await,
        [["kept"]]
    );
}

#[tokio::test]
async fn names_that_root_is_going_to_use_can_be_taken_before_to_no_avail() {
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    let before = host.roots();
    for (command, staging) in [
        ("restore", ".jobtrackd-restore-"),
        ("backup --force", ".jobtrackd-backup-"),
    ] {
        let file = match command {
            "restore" => host.backup(),
            _ => host.at("copy.db"),
        };
        // The shell becomes the program, with its number.
        let script = format!(
            "ln -s {outside} {staging}$$-0; exec {PROGRAM} {command} {file}",
            outside = host.outside().display(),
            staging = host.at(staging).display(),
            file = file.display()
        );
        let mut shell = Command::new("sh");
        let prepared = host.command(&[]);
        shell.args(["-c", &script]).envs(
            prepared
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let ended = Program::start(&mut shell).ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        assert_eq!(host.roots(), before);
    }
    host.assert_kept("jobs.db", 0o660);

    // No file, and none that anybody waits for.
    let fifo = Command::new("mkfifo")
        .arg(host.at("jobs.db.lock.new"))
        .stdout(Stdio::null())
        .status();
    assert!(fifo.unwrap().success());
    fs::rename(host.at("jobs.db.lock.new"), host.at("jobs.db.lock")).unwrap();
    let ended = host
        .root(&["restore", host.backup().to_str().unwrap()])
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.text.contains("jobs.db.lock: it is not a file"),
        "{}",
        ended.text
    );
}

#[tokio::test]
async fn a_backup_goes_through_no_link_of_others_into_a_folder_of_root() {
    let Some(host) = Host::new() else { return };
    host.with_backup().await;
    let before = host.roots();
    for plant in [Plant::Link, Plant::LinkOfRoot] {
        plant.put(&host.at("backups"), &host.outside());
        plant.put(&host.at("copy.db"), &host.precious());
        for target in [host.at("backups/copy.db"), host.at("copy.db")] {
            let ended = host
                .root(&["backup", "--force", target.to_str().unwrap()])
                .await;
            assert_eq!(ended.code, Some(1), "{}", ended.text);
            assert!(ended.text.contains("symbolic link"), "{}", ended.text);
            assert_eq!(host.roots(), before);
        }
        // Nor is anything read from there.
        let ended = host
            .root(&["restore", host.at("copy.db").to_str().unwrap()])
            .await;
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        assert!(ended.text.contains("symbolic link"), "{}", ended.text);
    }
}

#[tokio::test]
async fn a_link_of_the_folders_owner_is_followed_to_what_is_his() {
    let Some(host) = Host::new() else { return };
    let disk = host.folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    chown(&disk, Some(KEEPER), Some(QUEUE)).unwrap();
    symlink(disk.join("real.db"), host.at("jobs.db")).unwrap();
    lchown(host.at("jobs.db"), Some(KEEPER), Some(QUEUE)).unwrap();
    host.with_backup().await;
    host.done(&["restore", host.backup().to_str().unwrap()])
        .await;
    let real = fs::metadata(disk.join("real.db")).unwrap();
    assert_eq!([real.uid(), real.gid()], [KEEPER, QUEUE]);
    assert_eq!(host.names(), ["jobs.db"]);
    assert!(disk.join("real.db.lock").exists());
}
