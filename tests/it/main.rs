//! Integration tests: real sockets, real SQLite files, one crate, files by behaviour.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic like the tests they serve"
)]

mod support;

mod config;
mod credentials;
mod delivering;
mod following;
mod polling;
mod restart;
mod simulator;
mod upstream;
mod webhook;
