//! The jobtrackd program.

use std::process::ExitCode;

/// For SQLite, too (its feature `unprefixed_malloc…`): a fifth of a poll was the allocator of the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    jobtrackd::cli::run(std::env::args_os())
}
