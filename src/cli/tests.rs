//! What tests of several commands share, and the command line as a whole.

pub(super) mod fixture;

use clap::CommandFactory as _;

use super::Cli;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
