//! The status server as its peers see it, byte by byte.

mod raw;

mod access;
mod limits;
mod safety;
mod socket;
