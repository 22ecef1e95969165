//! The API we poll: client, token, and when to leave it alone.

mod settings;

pub use settings::{Auth, UpstreamSettings};
