//! jobtrackd follows asynchronous API jobs to their end and sends signed events to webhooks.
//!
//! # One job, from its row to the webhook
//!
//! 1. A program inserts a row into `jobs`. [`tracker::intake`] notices it within 100 ms and hands it to the poller.
//! 2. [`tracker::poller`] knows when each followed job is due, and starts a poll of it within the limits.
//! 3. [`tracker`]'s poll task polls the job through [`upstream`], which reads the answer into a
//!    [`core::snapshot::Snapshot`].
//! 4. [`core::observe`] compares the snapshot with what is recorded: step transitions, events, perhaps the job's end.
//! 5. [`writer`] commits that, with a delivery per event and webhook, in one transaction of the [`store`], and wakes the
//!    webhook's dispatcher.
//! 6. [`dispatcher`] takes the deliveries that are due, in order per job. What is sent when, and what follows from each attempt,
//!    is decided by [`core::machines::dispatcher`].
//! 7. [`webhook::Sender`] signs the event's recorded bytes and sends them.
//!
//! Nothing is sent before the commit in 5; what was in flight in a crash is done again from the tables.
//!
//! # Around it
//!
//! [`app`] makes a daemon of the parts and the [`config`]; [`status`] serves what [`record`] publishes of the tables, and
//! [`mfa`] relays answers to challenges; [`telemetry`] holds the metrics, [`logging`] the logs, [`cli`] the commands.
//! [`simulator`] takes the API's place in tests and the demo; [`measuring`] is what both benchmarks measure with.

pub use jobtrackd_clock as clock;
pub use jobtrackd_core as core;
pub use jobtrackd_simulator as simulator;
pub use jobtrackd_store as store;

pub mod cli;

pub mod app;

pub mod status;

pub mod mfa;

pub mod record;

mod words;

mod operator;

pub mod tracker;

pub mod dispatcher;

pub mod writer;

pub mod upstream;

pub mod webhook;

pub mod config;

pub mod telemetry;

pub mod logging;

pub mod lifecycle;

pub mod heartbeat;

pub mod measuring;

pub mod memory;

pub mod sockets;

pub mod tls;
