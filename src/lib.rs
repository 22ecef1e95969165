//! jobtrackd follows asynchronous API jobs to their end and tells webhooks what happened.

pub mod core;

pub mod clock;

pub mod tls;

pub mod upstream;

pub mod webhook;
