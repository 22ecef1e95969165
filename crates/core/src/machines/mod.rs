//! The loops' decisions as state machines: what happened goes in, what is to be done comes out.
//!
//! A machine waits for nothing and sends nothing. Times and random numbers are arguments, settings are replaced by an input,
//! and collections have an order, so the same inputs always have the same effects. The daemon's loops are the shells that
//! carry inputs in and effects out.

pub mod gate;

pub mod budget;

pub mod attribution;

pub mod reading;

pub mod poll;

pub mod poller;

pub mod dispatcher;

pub mod batching;

pub mod intake;
