//! The world outside the daemon: the API, the receivers, and what they know to be true. Nothing here uses a rule of the product.

pub(crate) mod api;
pub(crate) mod receiver;
pub(crate) mod render;
pub(crate) mod truth;
