//! Backups of a daemon at work, and a daemon that goes on from one.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::house::{House, PROGRAM, rows};
use super::program::{Ended, Program};
use crate::support::waiting::until;

/// A user and a group that no file here belongs to.
const STRANGER: u32 = 65534;

/// The group that may enqueue.
const QUEUE: u32 = 4711;

impl House {
    fn start_with_file(&self, command: &str, file: &Path) -> Program {
        Program::start(self.command(command).arg(file))
    }

    async fn back_up(&self, file: &Path) -> Ended {
        self.start_with_file("backup", file).ended().await
    }

    async fn restore(&self, file: &Path) -> Ended {
        self.start_with_file("restore", file).ended().await
    }

    /// Restores on such a system, and is killed as a thread makes this system call for the n-th time, if one does.
    async fn restore_killed_at(&self, file: &Path, system: &str, call: &str, number: u32) -> bool {
        let kill = format!("inject={call}:signal=SIGKILL:when={number}");
        let mut traced = Command::new("strace");
        traced
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &kill,
                "-e",
                system,
                PROGRAM,
            ])
            .args(self.command("restore").get_args())
            .arg(file)
            .env_clear();
        let ended = Program::start(&mut traced).ended().await;
        assert!(
            matches!(ended.code, None | Some(0)),
            "{call} {number}: {}",
            ended.text
        );
        ended.code.is_none()
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[track_caller]
fn assert_done(ended: &Ended) {
    assert_eq!((ended.code, ended.text.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_daemon_goes_on_while_it_is_backed_up_and_follows_on_from_the_backup() {
    let house = House::new().await;
    let program = house.running().await;
    house.follow("early", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    house.follow("open", &[(0, &[("a", "in-progress")])]).await;
    until("its first event", || {
        house.sink.kinds("all", "open").len() == 1
    })
    .await;
    house
        .until(
            "SELECT count(*) FROM deliveries WHERE state = 'pending'",
            "0",
        )
        .await;
    let copy = house.path("copy.db");
    assert_done(&house.back_up(&copy).await);
    let asked = house.asked("open");
    until("polls go on", || house.asked("open") > asked).await;
    let ended = "SELECT id FROM jobs WHERE finished_at IS NOT NULL";
    assert_eq!(rows(&copy, ended).await, [["early"]]);

    // What happens after the backup, and is to happen again.
    house.make("late", &[(0, &[("a", "success")])]);
    house
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'open'")
        .await;
    house.until_ended().await;
    let first = house.sink.received();

    program.stop().await;
    assert_done(&house.restore(&copy).await);
    let restored = house
        .value("SELECT state FROM jobs WHERE id = 'open'")
        .await;
    assert_eq!(restored, "in-progress");
    let program = house.running().await;
    let asked = house.asked("open");
    until("the open job is followed again", || {
        house.asked("open") > asked
    })
    .await;
    house
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'open'")
        .await;
    house.sql("INSERT INTO jobs (id) VALUES ('late')").await;
    house.until_ended().await;
    program.stop().await;
    let end = |lane: &[jobtrackd::simulator::Received]| {
        let mine = lane.iter().filter(|each| each.job == "open");
        mine.map(|each| each.id.clone()).next_back().unwrap()
    };
    let all = house.sink.received();
    assert_eq!(
        end(&all[first.len()..]),
        end(&first),
        "delivered again under the same id"
    );
    assert_eq!(
        house.sink.kinds("all", "late").last().unwrap(),
        "job.completed"
    );
    let once = all.iter().filter(|each| each.job == "early").count();
    assert_eq!(
        once, 2,
        "what was delivered before the backup is not delivered again"
    );
}

#[tokio::test]
async fn nothing_is_restored_under_a_daemon_that_runs() {
    let house = House::new().await;
    house.migrate().await;
    let copy = house.path("copy.db");
    assert_done(&house.back_up(&copy).await);
    let program = house.running().await;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    let refused = house.restore(&copy).await;
    assert_eq!(refused.code, Some(1));
    let holder = format!("in use by another jobtrackd (pid {}, since ", program.pid);
    assert!(refused.text.contains(&holder), "{}", refused.text);
    let next = "stop the daemon first, for example with: systemctl stop jobtrackd";
    assert!(refused.text.contains(next), "{}", refused.text);
    house.until_ended().await;
    program.stop().await;
    assert!(!house.names().iter().any(|name| name.contains("restore")));
}

#[tokio::test]
async fn what_a_crash_left_in_the_log_does_not_come_back_after_a_restore() {
    let house = House::new().await;
    house.migrate().await;
    let copy = house.path("copy.db");
    assert_done(&house.back_up(&copy).await);
    let program = house.running().await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("an event", || !house.sink.received().is_empty()).await;
    program.kill().await;
    let log = std::fs::metadata(house.path("jobs.db-wal")).unwrap();
    assert!(log.len() > 0, "there is something to come back");
    assert_done(&house.restore(&copy).await);
    assert!(!house.path("jobs.db-wal").exists());
    assert_eq!(house.value("SELECT count(*) FROM jobs").await, "0");
    assert_eq!(house.value("PRAGMA integrity_check").await, "ok");
    let kept = house
        .names()
        .into_iter()
        .find(|name| name.contains("before-restore"));
    let kept = house.path(&kept.unwrap());
    assert_eq!(rows(&kept, "SELECT id FROM jobs").await, [["1"]]);
    house.running().await.stop().await;
}

/// The system calls that change files, and those that make changes last.
const CHANGES: [&str; 10] = [
    "renameat2",
    "renameat",
    "unlinkat",
    "unlink",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fchmod",
    "mkdirat",
    "pwrite64",
];

/// Systems: this one, and one with file systems of the network, where files cannot change places.
const SYSTEMS: [&str; 2] = ["signal=none", "inject=renameat2:error=EINVAL"];

/// Why a program cannot be killed as it makes a system call.
pub(super) fn cannot_be_traced() -> Option<&'static str> {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status();
    match tried {
        Ok(status) if status.success() => None,
        _ => Some("strace is not there, or may not look at processes"),
    }
}

#[tokio::test]
async fn a_restore_that_is_killed_at_any_change_of_a_file_leaves_a_database_that_starts() {
    if let Some(why) = cannot_be_traced() {
        eprintln!("skipped: {why}");
        return;
    }
    let house = House::new().await;
    house.migrate().await;
    let (copy, file) = (house.path("copy.db"), house.database());
    assert_done(&house.back_up(&copy).await);
    house.sql("INSERT INTO jobs (id) VALUES ('old')").await;
    std::fs::copy(&file, house.path("old.db")).unwrap();
    let mut seen = BTreeSet::new();
    for (system, call) in SYSTEMS
        .iter()
        .flat_map(|system| CHANGES.map(|call| (*system, call)))
    {
        // What always fails there is never reached again.
        if system.contains(&format!("{call}:")) {
            continue;
        }
        for number in 1.. {
            for name in house.names() {
                if name.contains("restore") || name.starts_with("jobs.db-") {
                    let at = house.path(&name);
                    drop(std::fs::remove_file(&at).or_else(|_| std::fs::remove_dir_all(&at)));
                }
            }
            std::fs::copy(house.path("old.db"), &file).unwrap();
            let killed = house.restore_killed_at(&copy, system, call, number).await;
            let jobs = rows(&file, "SELECT count(*) FROM jobs").await[0][0].clone();
            let whole = rows(&file, "PRAGMA integrity_check").await;
            assert_eq!(whole, [["ok"]], "{system} {call} {number}");
            let names = house.names();
            let kept = names.iter().find(|name| name.contains("before-restore"));
            if let Some(kept) = kept {
                let old = rows(&house.path(kept), "SELECT id FROM jobs").await;
                assert_eq!(old, [["old"]], "{system} {call} {number}");
            }
            seen.insert((jobs, kept.is_some()));
            // It opens with what the next start asks of it: one name, and no log of another one.
            house.migrate().await;
            if !killed {
                assert!(kept.is_some(), "{system} {call}");
                break;
            }
        }
    }
    let state = |jobs: &str, kept| (jobs.to_owned(), kept);
    // The last is the old one beside a copy of it, where files cannot change places.
    let expected = [
        state("0", false),
        state("0", true),
        state("1", false),
        state("1", true),
    ];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[tokio::test]
async fn a_signal_in_the_middle_leaves_nothing() {
    let house = House::new().await;
    house.migrate().await;
    let mut writer = house.outsider().await;
    // A database that is not in WAL mode can be locked for readers too, so that the middle lasts.
    let lock = "PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE";
    sqlx::raw_sql(lock).execute(&mut writer).await.unwrap();
    let before = house.names();
    let target = house.path("copy.db");
    let program = house.start_with_file("backup", &target);
    until("it has begun", || house.names() != before).await;
    program.signal(Signal::INT);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("stopped by a signal"), "{}", ended.text);
    assert!(
        !house
            .names()
            .iter()
            .any(|name| name.contains("copy") || name.starts_with('.'))
    );
    assert_done(&house.back_up(&target).await);
}

#[tokio::test]
async fn a_member_of_the_group_backs_up_without_a_terminal_or_a_home() {
    let house = House::new().await;
    let stranger = |command: &mut Command| {
        command
            .uid(STRANGER)
            .gid(QUEUE)
            .env_clear()
            .current_dir("/");
    };
    let mut trying = Command::new(PROGRAM);
    stranger(trying.arg("--version").stdout(std::process::Stdio::null()));
    if !trying.status().is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: only root may run the program as another user, and that user must reach it"
        );
        return;
    }
    let (home, backups) = (house.path("home"), house.path("backups"));
    for (folder, mode, user) in [(&home, 0o2770, 0), (&backups, 0o700, STRANGER)] {
        std::fs::create_dir(folder).unwrap();
        chown(folder, Some(user), Some(QUEUE)).unwrap();
        std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(house.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let url = format!("sqlite://{}", home.join("jobs.db").display());
    let command = |name: &str| {
        let mut command = Command::new(PROGRAM);
        command
            .arg(name)
            .env_clear()
            .env("JOBTRACKD__DATABASE__URL", &url);
        command
    };
    assert_done(&Program::start(&mut command("migrate")).ended().await);
    let target = backups.join("copy.db");
    let mut backup = command("backup");
    backup
        .arg(&target)
        .uid(STRANGER)
        .gid(QUEUE)
        .current_dir("/");
    assert_done(&Program::start(&mut backup).ended().await);
    let made = std::fs::metadata(&target).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (STRANGER, 0o600));
    assert_done(
        &Program::start(command("restore").arg(&target))
            .ended()
            .await,
    );
    let restored = std::fs::metadata(home.join("jobs.db")).unwrap();
    let dress = (restored.uid(), restored.gid(), restored.mode() & 0o7777);
    assert_eq!(dress, (0, QUEUE, 0o660));
}
