//! The pure core: the types of jobs, snapshots, transitions, events and deliveries, and every decision about them.
//!
//! Nothing here does I/O, reads a clock or draws a random number; time, jitter and policy are arguments, so every rule
//! of the documents can be tested as a table. Reading order is the order of the modules below.

pub mod planted;

pub mod time;

pub mod clock_jumps;

pub mod job;

pub mod text;

pub mod enqueue;

pub mod json;

pub mod user;

pub mod snapshot;

pub mod dialect;

pub mod transition;

pub mod event;

pub mod observe;

pub mod sample;

pub mod backoff;

pub mod recurring;

pub mod retention;

pub mod cadence;

pub mod etag;

pub mod poll;

pub mod machines;

pub mod redact;

pub mod shortage;

pub mod answer;

pub mod delivery;

pub mod health;

pub mod rows;

pub mod batch;

pub mod signature;

pub mod trace;
