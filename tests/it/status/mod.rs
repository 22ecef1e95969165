//! The status server: what it answers, on real sockets.

mod client;
mod described;
mod enqueueing;
mod events;
mod lists;
mod mirror;
mod streams;
mod waiting;
