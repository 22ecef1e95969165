//! The folder of the database and the files in it: who may read and write them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::account::{Accounts, GROUP, Identity, Mode, PASS, READ, USER, WRITE};
use super::{Finding, Level, beside, note, ok, problem, warning};
use crate::cli::privilege::check_way;
use crate::store::sqlite::{folder_of, real_path};

/// Where the shipped unit keeps its files; what is below it must be as the unit wants it.
const STATE: &str = "/var/lib";

/// The database, and whom its files have to serve.
#[derive(Debug)]
struct Files<'a> {
    path: &'a Path,
    accounts: &'a Accounts,
    /// Who follows the jobs, as far as can be known.
    daemon: Option<Identity>,
    /// The files are those of the shipped unit.
    shipped: bool,
}

/// The user that follows the jobs of this database, as far as can be known: that of the shipped unit for a file below
/// /var/lib, else the owner of the file.
pub(super) fn daemon_of(path: &Path, accounts: &Accounts) -> Option<Identity> {
    let (user, group) = (accounts.users.number(USER), accounts.groups.number(GROUP));
    match user.zip(group).filter(|_| path.starts_with(STATE)) {
        Some((uid, gid)) => Some(Identity { uid, gid }),
        None => owner_of(path),
    }
}

fn owner_of(path: &Path) -> Option<Identity> {
    Some(Mode::from(&fs::metadata(path).ok()?).owner)
}

/// Whether the user of this process may read and write the database, and make files beside it.
pub(super) fn may_use(path: &Path) -> bool {
    let can = |path: &Path, wanted| accessat(CWD, path, wanted, AtFlags::EACCESS).is_ok();
    let both = Access::READ_OK | Access::WRITE_OK;
    let within = Access::WRITE_OK | Access::EXEC_OK;
    can(path, both) && can(folder_of(path), within)
}

pub(super) fn probe(path: &Path, accounts: &Accounts) -> Vec<Finding> {
    let files = Files {
        path,
        accounts,
        daemon: daemon_of(path, accounts),
        shipped: path.starts_with(STATE),
    };
    let mut findings = Vec::from_iter(files.users());
    findings.push(files.folder());
    findings.extend(files.file());
    findings
}

impl Files<'_> {
    fn users(&self) -> Option<Finding> {
        let Accounts { users, groups } = self.accounts;
        let there = users.number(USER).is_some() && groups.number(GROUP).is_some();
        let text = format!("there is no user {USER}, or no group {GROUP}");
        (self.shipped && !there).then(|| {
            warning("database.user", text).advise(
                "the shipped unit runs as them and its files belong to them; run: systemd-sysusers && systemd-tmpfiles --create \
                 (with the files of systemd/ in place)",
            )
        })
    }

    /// Who the owner of the files should be, user and group: the daemon, else who has the folder already.
    fn owner(&self) -> (String, String) {
        let folder = || owner_of(folder_of(self.path)).filter(|_| !self.shipped);
        match self.daemon.or_else(folder) {
            Some(Identity { uid, gid }) => (
                self.accounts.users.name(uid),
                self.accounts.groups.name(gid),
            ),
            None => (USER.to_owned(), GROUP.to_owned()),
        }
    }

    /// What root may type to correct owner and mode, whatever others put there meanwhile: neither command follows a link to
    /// what is not the owner's.
    fn repair(&self, path: &Path, bits: u32) -> String {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let ((user, group), shown) = (self.owner(), real.display());
        format!(
            "run: chown -h {user}:{group} {shown} && setpriv --reuid={user} --regid={group} --clear-groups chmod {bits:o} {shown}"
        )
    }

    /// A group that cannot use the files matters where the unit promises that it can.
    fn sharing(&self) -> Level {
        match self.shipped {
            true => Level::Warning,
            false => Level::Note,
        }
    }

    fn folder(&self) -> Finding {
        let check = "database.folder";
        let folder = folder_of(self.path);
        let shown = folder.display();
        let mode = match fs::metadata(folder) {
            Ok(found) => Mode::from(&found),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (user, group) = self.owner();
                return problem(check, format!("the folder {shown} does not exist")).advise(format!(
                    "the daemon makes no folders, so that their owner and mode are chosen; run: install -d -m 2770 -o {user} -g \
                     {group} {shown}"
                ));
            }
            Err(error) => {
                let text = format!("the folder {shown} cannot be read: {error}");
                return Finding::hidden(check, text);
            }
        };
        let repair = self.repair(folder, 0o2770);
        let daemon = self.daemon.unwrap_or(mode.owner);
        let user = self.accounts.users.name(daemon.uid);
        let text = format!("the folder {shown} {}", self.accounts.describe(mode));
        let (level, why) = if mode.permits_others(WRITE) {
            let why = "everybody on this machine can replace the files of the database there";
            (Level::Problem, format!("{why}; {repair}"))
        } else if !mode.permits(daemon, WRITE | PASS) {
            let why = format!("{user} can make no files there, so the daemon does not start");
            (Level::Problem, format!("{why}; {repair}"))
        } else if mode.owner.uid == 0 && mode.owner.gid != 0 && mode.permits_group(WRITE) {
            let why = "members of its group can put links there, and root may follow them in what it does with the database \
                       (restore, backup); let folder and files belong to the user that the daemon runs as, and that not to be \
                       root";
            (Level::Warning, why.to_owned())
        } else if !mode.permits_group(WRITE | PASS) || mode.bits & 0o2000 == 0 {
            let why = "with less than 2770 the members of a group cannot insert jobs at all times";
            (self.sharing(), format!("{why}; if they are to, {repair}"))
        } else {
            return ok(check, text);
        };
        Finding::new(check, level, text).advise(why)
    }

    fn file(&self) -> Vec<Finding> {
        let check = "database.file";
        let shown = self.path.display();
        if let Err(error) = check_way(self.path) {
            let advice = format!("root opens nothing there; see what it is: ls -l {shown}");
            return vec![problem(check, error.to_string()).advise(advice)];
        }
        let mode = match fs::metadata(self.path) {
            Ok(found) if found.is_file() && found.nlink() > 1 => {
                let text = format!("{shown} has {} names (hard links)", found.nlink());
                return vec![problem(check, text).advise(format!(
                    "the daemon does not start, since whoever opens it under another one damages it; keep one and remove the \
                     others, run: find DIR -xdev -samefile {shown}"
                ))];
            }
            Ok(found) => Mode::from(&found),
            // Whether it can be made is found when it is opened.
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                let text = format!("{shown} cannot be read: {error}");
                return vec![Finding::hidden(check, text)];
            }
        };
        let mut findings = vec![self.database(mode)];
        let beside = self.beside().into_iter();
        findings.extend(beside.filter_map(|(file, shared)| self.sibling(&file, shared, mode)));
        findings.push(self.access());
        findings
    }

    fn database(&self, mode: Mode) -> Finding {
        let check = "database.permissions";
        let repair = self.repair(self.path, 0o660);
        let daemon = self.daemon.unwrap_or(mode.owner);
        let text = format!("{} {}", self.path.display(), self.accounts.describe(mode));
        let (level, why) = if mode.permits_others(WRITE) {
            let why = "everybody on this machine can write it, so nothing in it can be trusted";
            (Level::Problem, why)
        } else if !mode.permits(daemon, READ | WRITE) {
            let why = "the daemon has to read and write it and does not start";
            (Level::Problem, why)
        } else if mode.permits_others(READ) {
            let why = "everybody on this machine can read what the API says of your customers";
            (Level::Warning, why)
        } else if !mode.permits_group(READ | WRITE) {
            let why = "members of its group cannot enqueue; if they are to";
            (self.sharing(), why)
        } else {
            return ok(check, text);
        };
        Finding::new(check, level, text).advise(format!("{why}; {repair}"))
    }

    /// The files beside the database, and whether others than the daemon use them.
    fn beside(&self) -> [(PathBuf, bool); 3] {
        let real = real_path(self.path).unwrap_or_else(|_| self.path.to_owned());
        let ends = [("-wal", true), ("-shm", true), (".lock", false)];
        ends.map(|(end, shared)| (beside(&real, end), shared))
    }

    fn sibling(&self, file: &Path, shared: bool, database: Mode) -> Option<Finding> {
        let check = "database.permissions";
        let found = fs::symlink_metadata(file).ok()?;
        let (mode, shown) = (Mode::from(&found), file.display());
        if !found.is_file() || found.nlink() > 1 {
            let text = format!("{shown} is not a file of its own, but a link or of another kind");
            return Some(problem(check, text).advise(format!(
                "somebody has put it there, and nothing opens the database with it; run: ls -l {shown}; rm {shown}"
            )));
        }
        let text = format!(
            "{shown} {}, the database to {} with {:04o}",
            self.accounts.describe(mode),
            self.accounts.shown(database.owner),
            database.bits
        );
        let repair = self.repair(file, database.bits & 0o660);
        let daemon = self.daemon.unwrap_or(database.owner);
        let both = READ | WRITE;
        let (level, why) = if !mode.permits(daemon, both) {
            let user = self.accounts.users.name(daemon.uid);
            let why = format!(
                "{user} cannot read and write it, so the daemon does not start; another program left it, with a umask of its own"
            );
            (Level::Problem, why)
        } else if mode.permits_others(WRITE) && !database.permits_others(WRITE) {
            let why = "everybody on this machine can write it, and damage the database with it";
            (Level::Problem, why.to_owned())
        } else if shared && database.permits_group(both) && !mode.permits_group(both) {
            let why = "members of the group can no longer use the database";
            (Level::Warning, why.to_owned())
        } else {
            return None;
        };
        Some(Finding::new(check, level, text).advise(format!("{why}; {repair}")))
    }

    /// Whether the user of this process could enqueue.
    fn access(&self) -> Finding {
        let check = "database.access";
        let user = self
            .accounts
            .users
            .name(rustix::process::geteuid().as_raw());
        if may_use(self.path) {
            return ok(check, format!("{user}, who asks, may read and write it"));
        }
        let group = owner_of(self.path).map(|owner| owner.gid);
        let remedy = match group.filter(|gid| *gid != 0) {
            // Nobody should be made a member of root's group.
            None => "give the folder and its files a group that may write them: docs/operating.md, \"Files and permissions\"".to_owned(),
            Some(gid) => format!("run: usermod -aG {} {user}, and log in again", self.accounts.groups.name(gid)),
        };
        let text = format!("{user}, who asks, may not read and write it, or make files beside it");
        note(check, text).advise(format!(
            "{user} cannot enqueue; if that is not meant, {remedy}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_var_lib_the_users_of_the_unit_must_be_there() {
        let nobody = Accounts::default();
        let found = probe(Path::new("/var/lib/no-such-folder/jobs.db"), &nobody);
        let levels: Vec<_> = found.iter().map(|each| (each.check, each.level)).collect();
        assert_eq!(
            levels,
            [
                ("database.user", Level::Warning),
                ("database.folder", Level::Problem)
            ]
        );
        let advice = found[1].advice.as_ref().unwrap();
        assert!(
            advice.contains(
                "install -d -m 2770 -o jobtrackd -g jobtrackd-queue /var/lib/no-such-folder"
            ),
            "{advice}"
        );
    }
}
