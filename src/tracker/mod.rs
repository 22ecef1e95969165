//! The loops that follow jobs: intake notices rows, the poller asks the API; what they saw goes to the [writer](crate::writer).
//!
//! *When* to poll lives in memory and is rebuilt from the table at start; what is true lives in the database and is
//! written only when something changed. Reading order: [`intake`], [`poller`].

pub mod intake;

pub mod poller;

mod poll;

mod schedule;

pub mod pruner;
