//! What to do about an error of the database, when its text does not say so.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::privilege::reads_as_root;
use crate::store::StoreError;
use crate::store::sqlite::LockError;

/// The remedy for an error, found by its causes.
pub(super) fn on(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let of_store = cause.downcast_ref::<StoreError>().and_then(of_store);
        of_store.or_else(|| cause.downcast_ref::<LockError>().map(of_lock))
    })
}

fn of_store(error: &StoreError) -> Option<String> {
    let advice = match error {
        StoreError::Unusable { path, .. } if is_denied(path) => return Some(denied(path)),
        StoreError::Unusable { path, .. } => {
            let path = path.display();
            return Some(format!(
                "see who may use the file, and what else is wrong: ls -l {path}; jobtrackd doctor"
            ));
        }
        StoreError::Absent(_) => {
            "if it is elsewhere, name the configuration with its path: jobtrackd --config FILE"
        }
        StoreError::Foreign(_) => {
            "correct database.url, or name another configuration: jobtrackd --config FILE"
        }
        StoreError::Busy => {
            "try again; if it stays locked, find out who holds it: jobtrackd doctor"
        }
        StoreError::Short(_) => "try again; see what the limits are: ulimit -a; quota -v",
        StoreError::Full => "make room, and try again; see how much there is: df -h",
        StoreError::Damaged(_) | StoreError::Failed { .. } => {
            "see what is wrong, and restore a backup if necessary: jobtrackd doctor"
        }
        StoreError::Inconsistent { .. } | StoreError::Other(_) => {
            "see what is wrong: jobtrackd doctor"
        }
        StoreError::OldSqlite(_) => "install a newer jobtrackd; SQLite is built in",
        // Their texts have a remedy.
        StoreError::Missing(_)
        | StoreError::SecondName { .. }
        | StoreError::NetworkFilesystem { .. }
        | StoreError::Outdated { .. }
        | StoreError::Newer { .. }
        | StoreError::Refused(_) => return None,
    };
    Some(advice.to_owned())
}

fn of_lock(error: &LockError) -> String {
    match error {
        LockError::Held { .. } => {
            "stop the other one (systemctl stop jobtrackd), or give this one another database.url"
                .to_owned()
        }
        LockError::Unusable { path, .. } => format!(
            "it takes the daemon's own user: sudo -u jobtrackd jobtrackd …; see whose it is: ls -l {}",
            path.display()
        ),
    }
}

/// Whether this user may not read and write what SQLite needs there.
fn is_denied(path: &Path) -> bool {
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let refused = accessat(CWD, path, wanted, AtFlags::EACCESS);
    matches!(refused, Err(Errno::ACCESS))
}

fn denied(path: &Path) -> String {
    let path = path.display();
    if reads_as_root() {
        return format!(
            "root works there as the owner of the folder, who may not read and write the database; see whose it is, and what \
             to type: ls -l {path}; jobtrackd doctor"
        );
    }
    format!(
        "this user may not read and write the database; members of its group may, so let root run usermod -aG \
         jobtrackd-queue USER and log in again (whose it is: ls -l {path})"
    )
}
