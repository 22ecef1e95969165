//! jobtrackd follows asynchronous API jobs to their end and tells webhooks what happened.

pub mod core;

pub mod clock;

pub mod upstream;

pub mod webhook;

pub mod simulator;

pub mod cli;
