//! The status server as its peers see it, on real sockets: what it answers, and whom it turns away.

mod client;
mod raw;

mod access;
mod dashboard;
mod described;
mod enqueueing;
mod events;
mod limits;
mod lists;
mod mirror;
mod safety;
mod socket;
mod streams;
mod waiting;
