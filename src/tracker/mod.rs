//! The loops that follow jobs: intake notices rows, the poller asks the API, the recorder commits what was seen.
//!
//! *When* to poll lives in memory and is rebuilt from the table at start; what is true lives in the database and is
//! written only when something changed. Reading order: [`intake`], [`poller`], [`recorder`].

pub mod intake;

pub mod poller;

mod look;

mod schedule;

pub mod commits;

pub mod wakeups;

pub mod pruner;

pub mod recorder;

use crate::pulse::Pulse;
use crate::store::{StoreError, patiently};

/// Reads as [`patiently`] does, for a loop with a pulse: a database that is locked for long is no stall.
///
/// # Errors
/// Those of the read that do not pass.
pub async fn read<T, F>(pulse: &Pulse, mut read: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    patiently(|| {
        pulse.answers();
        read()
    })
    .await
}
