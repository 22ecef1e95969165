//! The jobtrackd program.

fn main() {}
