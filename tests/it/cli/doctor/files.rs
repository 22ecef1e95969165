//! Owners and modes. Tests may run as root, so only mode bits are judged.

use std::fs;
use std::path::PathBuf;

use super::{Patient, chmod};

impl Patient {
    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.shell.path().into_os_string();
        name.push(end);
        name.into()
    }
}

#[test]
fn a_folder_that_everybody_can_write_is_a_problem_and_a_private_one_a_note() {
    let patient = Patient::migrated();
    let folder = patient.shell.folder.path();
    chmod(folder, 0o1777);
    patient
        .examined()
        .has("database.folder", "problem", "mode 1777", "chmod 2770")
        .ends(1);
    chmod(folder, 0o755);
    patient
        .examined()
        .has("database.folder", "note", "mode 0755", "chmod 2770")
        .ends(0);
    chmod(folder, 0o2550);
    patient.examined().has(
        "database.folder",
        "problem",
        "mode 2550",
        "can make no files",
    );
    chmod(folder, 0o2770);
    patient
        .examined()
        .has("database.folder", "ok", "mode 2770", "");
}

#[test]
fn the_mode_of_the_database_is_judged_by_whom_it_shuts_out_or_lets_in() {
    let patient = Patient::migrated();
    for (mode, level, why) in [
        (0o666, "problem", "nothing in it can be trusted"),
        (0o400, "problem", "does not start"),
        (0o664, "warning", "everybody on this machine can read"),
        (0o600, "note", "members of its group cannot enqueue"),
        (0o660, "ok", ""),
    ] {
        chmod(&patient.shell.path(), mode);
        let report = patient.examined();
        report.has(
            "database.permissions",
            level,
            &format!("mode {mode:04o}"),
            why,
        );
        report.ends(i32::from(level == "problem"));
    }
}

#[tokio::test]
async fn an_index_left_by_another_program_with_a_umask_of_its_own_is_a_problem() {
    let patient = Patient::migrated();
    let mut outsider = patient.outsider().await;
    super::run_sql(&mut outsider, "SELECT count(*) FROM jobs").await;
    let index = patient.beside("-shm");
    chmod(&index, 0o000);
    patient
        .examined()
        .has(
            "database.permissions",
            "problem",
            "jobs.db-shm belongs to",
            &format!("--clear-groups chmod 660 {}", index.display()),
        )
        .ends(1);
    chmod(&index, 0o640);
    patient.examined().has(
        "database.permissions",
        "warning",
        "jobs.db-shm",
        "members of the group",
    );
    chmod(&index, 0o662);
    patient.examined().has(
        "database.permissions",
        "problem",
        "jobs.db-shm",
        "everybody on this machine can write it",
    );
    chmod(&index, 0o660);
    assert_eq!(patient.examined().all("database.permissions").len(), 1);

    fs::write(patient.beside(".lock"), "").unwrap();
    chmod(&patient.beside(".lock"), 0o440);
    patient.examined().has(
        "database.permissions",
        "problem",
        "jobs.db.lock",
        "does not start",
    );
}

#[test]
fn a_folder_that_is_not_there_is_a_problem_with_the_command_that_makes_it() {
    let mut patient = Patient::new();
    let absent = patient.shell.folder.path().join("absent");
    let url = format!("sqlite://{}/jobs.db", absent.display());
    patient.set("DATABASE__URL", &url);
    let make = format!(
        "install -d -m 2770 -o jobtrackd -g jobtrackd-queue {}",
        absent.display()
    );
    let report = patient.examined();
    report
        .has("database.folder", "problem", "does not exist", &make)
        .ends(1);
    assert_eq!(report.levels("problem"), ["database.folder"], "said once");
    let said = patient.run(&["check", "--offline"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("cannot be created"), "{}", said.out);
}

#[test]
fn a_user_who_may_not_read_gets_a_note_and_no_problem() {
    use std::os::unix::process::CommandExt as _;

    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root may run a command as somebody else");
        return;
    }
    let mut patient = Patient::migrated();
    // A copy where everybody may go: the one under test may lie below a private folder.
    let place = tempfile::TempDir::new().unwrap();
    chmod(place.path(), 0o755);
    let program = place.path().join("jobtrackd");
    fs::copy(env!("CARGO_BIN_EXE_jobtrackd"), &program).unwrap();
    let key = place.path().join("key");
    fs::write(&key, "the-key").unwrap();
    chmod(&key, 0o600);
    patient.set("UPSTREAM__AUTH", "bearer");
    patient.set("UPSTREAM__API_KEY_FILE", key.to_str().unwrap());
    chmod(patient.shell.folder.path(), 0o2775);
    let made = patient.command(&["doctor", "--json", "--offline"]);
    let mut command = std::process::Command::new(program);
    command
        .args(made.get_args())
        .env_clear()
        .uid(NOBODY)
        .gid(NOBODY);
    for (name, value) in made.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    let report = super::Report(command.output().unwrap().into());
    report
        .has(
            "configuration.secret",
            "note",
            "Permission denied",
            "sudo jobtrackd doctor",
        )
        .has(
            "database.access",
            "note",
            "may not read and write it",
            "cannot enqueue",
        )
        .has("database.open", "note", "cannot open the database", "sudo")
        .ends(0);
}

#[test]
fn files_with_secrets_that_others_read_or_write_are_named() {
    let mut patient = Patient::migrated();
    let file = patient.shell.folder.path().join("key");
    fs::write(&file, "the-key\n").unwrap();
    patient.set("UPSTREAM__AUTH", "bearer");
    patient.set("UPSTREAM__API_KEY_FILE", file.to_str().unwrap());
    chmod(&file, 0o604);
    let mend = format!("run: chmod o-r {}", file.display());
    patient
        .examined()
        .has(
            "configuration.warning",
            "warning",
            "upstream.api_key_file",
            &mend,
        )
        .ends(0);
    chmod(&file, 0o602);
    let mend = format!("run: chmod o-w {}", file.display());
    let report = patient.examined();
    report
        .has(
            "configuration.secret",
            "problem",
            "upstream.api_key_file",
            &mend,
        )
        .ends(1);
    assert!(!report.0.out.contains("the-key"));

    patient.set("UPSTREAM__AUTH", "oauth2");
    patient.set("UPSTREAM__TOKEN_URL", "http://127.0.0.1:1/token");
    patient.set("UPSTREAM__CLIENT_ID", "id");
    patient.set("UPSTREAM__CLIENT_SECRET_FILE", file.to_str().unwrap());
    let report = patient.examined();
    report
        .has(
            "configuration.secret",
            "problem",
            "upstream.client_secret_file",
            &mend,
        )
        .has(
            "configuration.warning",
            "warning",
            "upstream.api_key_file: not used, because auth is oauth2",
            "correct it",
        )
        .ends(1);
    chmod(&file, 0o604);
    let mend = format!("run: chmod o-r {}", file.display());
    let report = patient.examined();
    report
        .has(
            "configuration.warning",
            "warning",
            "upstream.client_secret_file",
            &mend,
        )
        .ends(0);
    assert!(!report.0.out.contains("the-key"));
}

#[test]
fn a_second_name_and_what_is_no_file_of_its_own_are_problems_with_the_command_that_finds_them() {
    let patient = Patient::migrated();
    let file = patient.shell.path();
    let name = patient.shell.folder.path().join("name.db");
    fs::hard_link(&file, &name).unwrap();
    let find = format!("find DIR -xdev -samefile {}", file.display());
    let report = patient.examined();
    report
        .has(
            "database.file",
            "problem",
            "has 2 names (hard links)",
            &find,
        )
        .ends(1);
    report.has("database.open", "problem", "hard links", "does not start");
    fs::remove_file(name).unwrap();

    let log = patient.beside("-wal");
    drop(fs::remove_file(&log));
    std::os::unix::fs::symlink("/etc/hostname", &log).unwrap();
    let remove = format!("rm {}", log.display());
    patient
        .examined()
        .has("database.permissions", "problem", "but a link", &remove)
        .ends(1);
    fs::remove_file(log).unwrap();
    patient.examined().ends(0);
}

#[test]
fn a_folder_of_root_that_a_group_may_write_is_a_warning() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make such a folder");
        return;
    }
    let patient = Patient::migrated();
    let folder = patient.shell.folder.path();
    std::os::unix::fs::chown(folder, None, Some(4711)).unwrap();
    chmod(folder, 0o2770);
    patient
        .examined()
        .has(
            "database.folder",
            "warning",
            "belongs to root:4711",
            "put links there",
        )
        .ends(0);
}

#[test]
fn a_missing_database_is_a_problem_only_where_none_may_be_made() {
    let mut patient = Patient::new();
    patient
        .examined()
        .has("database.open", "ok", "is created at the first start", "");
    patient.set("DATABASE__CREATE", "false");
    patient
        .examined()
        .has(
            "database.open",
            "problem",
            "there is no database",
            "database.create = false",
        )
        .ends(1);
    patient.run(&["migrate"]).done();
    patient.examined().ends(0);
}
