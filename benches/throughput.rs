//! Benchmarks: what the README claims.

fn main() {}
