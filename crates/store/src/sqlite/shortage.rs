//! What a failed system call lacked. SQLite does not tell the reason (`errno`), so the system call is tried again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Resource, getrlimit};

use super::files::beside;
use super::filesystem::folder_of;
use crate::error::code;
use crate::{Shortage, StoreError};

/// A failure is attributed to a full disk unless this much fits into the folder of the database, in bytes (1 MiB).
const ENOUGH: usize = 1 << 20;

/// Distinguishes a shortage from a disk that failed. `opened`: this process has had the database open.
pub(super) fn judge(error: StoreError, database: &Path, opened: bool) -> StoreError {
    let StoreError::Failed { code, message } = error else {
        return error;
    };
    let want = match code {
        code::IOERR_READ | code::IOERR_SHORT_READ => None,
        // SQLite maps files into memory after it has extended them.
        code::IOERR_SHMMAP | code::IOERR_MMAP => Some(StoreError::Short(Shortage::Memory)),
        _ => wanting(database),
    };
    if let Some(want) = want {
        return want;
    }
    // A descriptor may be free again by now.
    if opened && code & 0xff == code::CANTOPEN && may_be_opened(database) {
        return StoreError::Short(Shortage::Descriptors);
    }
    StoreError::Damaged(message)
}

fn wanting(database: &Path) -> Option<StoreError> {
    let tried = File::open("/").and_then(|_| write_beside(database, ENOUGH as u64));
    match tried {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Some(StoreError::Full),
        Err(error) => Shortage::of(&error).map(StoreError::Short),
        Ok(()) => is_as_large_as_allowed(database).then_some(StoreError::Short(Shortage::FileSize)),
    }
}

/// Writes this many bytes into a file without a name in the folder of the database.
pub(super) fn write_beside(database: &Path, bytes: u64) -> io::Result<()> {
    let file = tempfile::tempfile_in(folder_of(database))?;
    let block = vec![0xa5; ENOUGH];
    for at in (0..bytes).step_by(ENOUGH) {
        let length = block
            .len()
            .min(usize::try_from(bytes - at).unwrap_or(ENOUGH));
        file.write_all_at(&block[..length], at)?;
    }
    file.sync_data()
}

fn is_as_large_as_allowed(database: &Path) -> bool {
    let Some(limit) = getrlimit(Resource::Fsize).current else {
        return false;
    };
    let sizes = ["", "-wal", "-shm"].map(|ending| {
        let found = fs::metadata(beside(database, ending));
        found.map_or(0, |found| found.len())
    });
    sizes.iter().any(|size| size + ENOUGH as u64 > limit)
}

/// Whether this process can open the database and its log, apart from shortages.
fn may_be_opened(database: &Path) -> bool {
    ["", "-wal", "-shm"].iter().all(|ending| {
        let path = beside(database, ending);
        let wanted = Access::READ_OK | Access::WRITE_OK;
        match fs::symlink_metadata(&path) {
            Ok(found) => found.is_file() && accessat(CWD, &path, wanted, AtFlags::EACCESS).is_ok(),
            // SQLite creates the others.
            Err(error) => {
                let makes = Access::WRITE_OK | Access::EXEC_OK;
                let folder = folder_of(database);
                error.kind() == io::ErrorKind::NotFound
                    && !ending.is_empty()
                    && accessat(CWD, folder, makes, AtFlags::EACCESS).is_ok()
            }
        }
    })
}
