//! The jobtrackd program.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobtrackd::cli::run(std::env::args_os())
}
