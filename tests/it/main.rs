//! Integration tests: real sockets, real SQLite files, one crate, files by behaviour.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic like the tests they serve"
)]

mod support;

mod cli;
mod config;
mod crash;
mod credentials;
mod delivering;
mod demo;
mod dialects;
mod documents;
mod following;
mod fuzz;
mod grace;
mod intake;
mod mfa;
mod ops;
mod packaging;
mod polling;
mod pressure;
mod process;
mod reloading;
mod restart;
mod retention;
mod schemas;
mod simulator;
mod status;
mod steering;
mod store;
mod tidy;
mod upstream;
mod webhook;
