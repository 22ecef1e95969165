//! A store in memory, for tests and the simulation: the rules of the SQLite one, in ordered maps.
//!
//! Its futures are ready at once. What is only about a file (its size, how long it was locked) is 0, and no row is unreadable,
//! since each value has its type.

mod attempts;
mod commit;
mod counts;
mod deliveries;
mod enqueue;
mod events;
mod expiry;
mod health;
mod intake;
mod jobs;
mod lanes;
mod list;
mod outsider;
mod prune;
mod replay;
mod rows;
mod store;
mod table;
mod tables;
mod timeline;
mod undelivered;
mod upstreams;
mod users;
mod watch;
mod webhooks;

#[cfg(test)]
mod tests;

pub use intake::Watcher;
pub use store::Store;
