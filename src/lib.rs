//! jobtrackd follows asynchronous API jobs to their end and tells webhooks what happened.

pub mod core;

pub mod clock;

pub mod memory;

pub mod pulse;

pub mod telemetry;

pub mod tls;

pub mod shortage;

pub mod sockets;

pub mod config;

pub mod store;

pub mod upstream;

pub mod webhook;

pub mod tracker;

pub mod dispatcher;

pub mod mfa;

pub mod record;

pub mod status;

pub mod lifecycle;

pub mod logging;

pub mod app;

pub mod simulator;

pub mod cli;
