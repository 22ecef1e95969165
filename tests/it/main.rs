//! Integration tests: real sockets, real SQLite files, one crate, files by behaviour.

mod simulator;
