//! The loops that follow jobs: intake notices rows, the poller polls the API; their observations go to the
//! [writer](crate::writer), and the pruner deletes old rows.
//!
//! What is decided here is decided in `core::machines`: these loops carry what happens in, and carry out what follows. The
//! schedule of polls is in memory and is rebuilt from the table at start; the state of jobs is in the database and is written
//! only when something has changed. Reading order: [`intake`], [`poller`].

pub mod intake;

pub mod looks;

pub mod poller;

mod poll;

mod known;

mod reads;

mod slots;

pub mod pruner;
