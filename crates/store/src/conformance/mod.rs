//! What every store has to do, in words of the domain: a suite over the traits of this crate, which speaks no SQL.
//!
//! Tests outside this crate make their stores and rows with the same [`Bench`] and [`fixtures`].
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod backend;
mod bench;
pub mod fixtures;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod suite;

pub use backend::{Backend, InMemory, Sqlite, Verbs};
pub use bench::{Bench, job};
