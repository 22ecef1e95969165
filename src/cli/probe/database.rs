//! The database itself: whether it opens, its schema, its log, and whether the file is sound.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Finding, bytes};
use crate::cli::database_file;
use crate::cli::privilege::leave_to_owner;
use crate::cli::text::outside;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::store::{Store, StoreError, folder_of};

/// A log beyond this is a warning: the daemon cuts it back to 64 MiB whenever nobody reads an old state of it.
const LARGE_LOG: u64 = 64 << 20;

/// A file up to this is read whole to find damage.
const CHECKED_WHOLE: u64 = 1 << 30;

/// Opens the database as it is; nothing is created or migrated. What the daemon itself waits for, or does at its
/// start, is no problem. From here on root is the owner of the folder.
pub(in crate::cli) async fn open(
    database: &DatabaseSettings,
    clock: &Clock,
) -> (Finding, Option<Store>) {
    let path = &database.path;
    let place = database_file(database);
    let shown = path.display();
    if let Err(error) = leave_to_owner(path) {
        let advice = format!("root opens nothing there; see what it is: ls -ld {shown}*");
        return (
            Finding::problem("database.open", format!("{error:#}"), advice),
            None,
        );
    }
    match Store::open(place, clock.clone()).await {
        Ok(store) => {
            let found = Finding::ok("database.open", shown.to_string());
            (found, Some(store))
        }
        Err(error) => (unopened(error, database), None),
    }
}

fn unopened(error: StoreError, database: &DatabaseSettings) -> Finding {
    let path = &database.path;
    let shown = path.display();
    match error {
        StoreError::Absent(path) if !database.create => Finding::problem(
            "database.open",
            format!("there is no database at {}", path.display()),
            "the daemon does not start, since database.create = false; if its volume is not mounted, mount it; to make a new \
             database, run: jobtrackd migrate",
        ),
        StoreError::Absent(path) => absent(&path),
        StoreError::Outdated { .. } | StoreError::Newer { .. } => of_another_schema(&error, path),
        StoreError::Busy => Finding::warning(
            "database.open",
            format!("{shown} is locked by another program"),
            format!(
                "the daemon waits for it, and nothing is polled or told meanwhile; find out who it is and end it: fuser -v \
                 {shown}"
            ),
        ),
        StoreError::Full => Finding::warning(
            "database.open",
            format!("{shown} cannot be used: the disk is full"),
            format!(
                "the daemon waits for room; make some: df -h {}",
                folder_of(path).display()
            ),
        ),
        StoreError::Short(shortage) => Finding::warning(
            "database.open",
            format!("{shown} cannot be used from here: {shortage}"),
            "the daemon waits until there is enough; see the limits: ulimit -a; quota -v",
        ),
        error @ StoreError::SecondName { .. } => Finding::problem(
            "database.open",
            error.to_string(),
            "the daemon does not start, and no command opens it",
        ),
        error @ StoreError::NetworkFilesystem { .. } => Finding::problem(
            "database.open",
            error.to_string(),
            format!("the daemon does not start; see what is mounted there: findmnt -T {shown}"),
        ),
        error @ StoreError::Foreign(_) => Finding::problem(
            "database.open",
            error.to_string(),
            format!("look what it is, and correct database.url: file {shown}"),
        ),
        error => Finding::problem(
            "database.open",
            error.to_string(),
            format!(
                "the daemon does not start with it; see who it belongs to, and what the disk says: ls -l {shown}*; \
                     dmesg | tail -n 50"
            ),
        ),
    }
}

fn of_another_schema(error: &StoreError, path: &Path) -> Finding {
    let shown = path.display();
    match error {
        StoreError::Outdated { found: 0, .. } => Finding::note(
            "database.schema",
            format!("{shown} has no tables yet; they are made at the next start"),
            "to insert rows before that, run: jobtrackd migrate",
        ),
        StoreError::Outdated { found, wanted } => Finding::note(
            "database.schema",
            format!(
                "{shown} has schema {found}, is brought up to date ({wanted}) at the next start"
            ),
            "commands refuse it until then; run: systemctl restart jobtrackd, or, with the daemon stopped: jobtrackd \
             migrate",
        ),
        _ => Finding::problem(
            "database.schema",
            format!("{shown}: {error}"),
            "the daemon refuses what it does not know; install the newer jobtrackd again, or restore a backup of before",
        ),
    }
}

/// A first start creates the file, if it may.
fn absent(path: &Path) -> Finding {
    let folder = folder_of(path);
    let (shown, within) = (path.display(), folder.display());
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(CWD, folder, wanted, AtFlags::EACCESS) {
        Ok(()) => Finding::ok(
            "database.open",
            format!("{shown} is created at the first start"),
        ),
        Err(error) => Finding::problem(
            "database.open",
            format!("{shown} cannot be created: {within}: {error}"),
            format!("the daemon does not start; see who may write there: ls -ld {within}"),
        ),
    }
}

/// What only a look inside shows.
pub(in crate::cli) async fn inside(store: &Store, path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(schema) = store.schema().await {
        findings.push(Finding::ok(
            "database.schema",
            format!("schema {schema}, up to date"),
        ));
    }
    findings.push(lock(store, path).await);
    findings.push(soundness(store, path).await);
    findings
}

async fn lock(store: &Store, path: &Path) -> Finding {
    let check = "database.lock";
    let shown = path.display();
    match store.writable().await {
        Ok(()) => Finding::ok(check, "nobody keeps the write lock"),
        Err(StoreError::Busy) => Finding::problem(
            check,
            "another program keeps the write lock",
            format!(
                "nothing is polled or told until it lets go; find out who it is and end it: fuser -v {shown}"
            ),
        ),
        Err(error) if error.is_temporary() => Finding::problem(
            check,
            format!("nothing can be written: {error}"),
            "nothing is polled or told until there is room; it goes on by itself",
        ),
        Err(error) => Finding::note(
            check,
            format!("nothing can be written from here: {error}"),
            super::as_root(),
        ),
    }
}

/// The write-ahead log, before anybody opens and perhaps tidies it.
pub(in crate::cli) fn log(path: &Path) -> Finding {
    let check = "database.log";
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let size = std::fs::metadata(&name).map_or(0, |found| found.len());
    let says = format!("the write-ahead log has {}", bytes(size));
    if size <= LARGE_LOG {
        return Finding::ok(check, says);
    }
    Finding::warning(
        check,
        says,
        format!(
            "it is cut back to {} unless somebody keeps a read transaction open, and it fills the disk; find out who it is: \
             fuser -v {}",
            bytes(LARGE_LOG),
            path.display()
        ),
    )
}

async fn soundness(store: &Store, path: &Path) -> Finding {
    let check = "database.integrity";
    let shown = path.display();
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    if size > CHECKED_WHOLE {
        return Finding::note(
            check,
            format!("the file has {} and was not read whole", bytes(size)),
            format!("to look for damage, run: sqlite3 -readonly {shown} 'PRAGMA quick_check'"),
        );
    }
    let wrong = match store.quick_check().await {
        Ok(wrong) if wrong.is_empty() => return Finding::ok(check, "the file is sound"),
        Ok(wrong) => outside(&wrong.join("; "), 500),
        Err(error) => error.to_string(),
    };
    Finding::problem(
        check,
        format!("the file is damaged: {wrong}"),
        format!(
            "what is in it cannot be trusted; stop the daemon, keep a copy, and restore a backup: systemctl stop jobtrackd; \
             cp -a {shown}* /var/tmp/"
        ),
    )
}
