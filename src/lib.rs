//! jobtrackd follows asynchronous API jobs to their end and tells webhooks what happened.

pub mod core;

pub mod clock;

pub mod tls;

pub mod config;

pub mod store;

pub mod upstream;

pub mod webhook;

pub mod cli;
