//! Peers that tests talk to, and the world they live in.

pub(crate) mod asking;
pub(crate) mod kept;
pub(crate) mod patience;
pub(crate) mod pty;
pub(crate) mod receiver;
pub(crate) mod sink;
pub(crate) mod world;
