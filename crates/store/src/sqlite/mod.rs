//! The SQLite backend.

mod attempts;
mod backup;
mod bulk;
mod commit;
mod copy;
mod counts;
mod deliveries;
mod events;
mod expiry;
mod files;
mod filesystem;
mod health;
mod intake;
mod jobs;
mod lanes;
mod list;
mod lock;
mod log_writes;
mod lost_log;
mod migrate;
mod open;
#[cfg(any(test, feature = "testing"))]
mod outsider;
mod prune;
mod replay;
mod restore;
mod rows;
mod shortage;
mod staging;
mod store;
mod timeline;

mod together;
mod undelivered;
mod upstreams;
mod users;
mod watch;
mod webhooks;

#[cfg(test)]
mod tests;

pub use backup::BackupTarget;
pub use copy::Copied;
pub use filesystem::{DatabaseFile, Filesystem, FilesystemKind, MOST_LINKS, folder_of, real_path};
pub use intake::Watcher;
pub use lock::{Holder, InstanceLock, LockError};
pub use open::sqlite_version;
#[cfg(any(test, feature = "testing"))]
pub use outsider::Outsider;
pub use restore::{BackupFile, Restored};
pub use staging::CopyError;
pub use store::Store;
