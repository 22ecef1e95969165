//! Peers that tests talk to.

pub(crate) mod receiver;
