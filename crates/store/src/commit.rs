//! What the loops decide, recorded in batches.

use jobtrackd_core::batch::{Batch, Committed};

use super::error::Result;

/// What the loops decide, recorded in batches.
pub trait Commits {
    /// Commits everything in the batch in one transaction.
    ///
    /// # Errors
    /// Nothing of the batch is recorded then. [`is_temporary`](crate::StoreError::is_temporary) says whether to try again.
    fn commit(&self, batch: &Batch) -> impl Future<Output = Result<Committed>> + Send;
}
