//! The API we poll: client, token, and when to leave it alone.

pub mod budget;
pub mod target;

mod settings;

pub use settings::{Auth, UpstreamSettings};
