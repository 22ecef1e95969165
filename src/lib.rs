//! jobtrackd follows asynchronous API jobs to their end and tells webhooks what happened.

pub use jobtrackd_core as core;

pub use jobtrackd_clock as clock;

pub mod memory;

pub mod heartbeat;

pub mod telemetry;

pub mod tls;

pub mod sockets;

pub mod config;

pub use jobtrackd_store as store;

pub mod upstream;

pub mod webhook;

pub mod writer;

pub mod tracker;

pub mod dispatcher;

pub mod mfa;

pub mod record;

pub mod status;

pub mod lifecycle;

pub mod logging;

pub mod app;

pub use jobtrackd_simulator as simulator;

pub mod cli;
