//! Peers that tests talk to, and a daemon between them.

pub(crate) mod challenges;
pub(crate) mod hostile;
pub(crate) mod kept_open;
pub(crate) mod pty;
pub(crate) mod receiver;
pub(crate) mod schemas;
pub(crate) mod waiting;
pub(crate) mod world;

/// The number of the newest migration.
pub(crate) const SCHEMA: i64 = 8;
