//! `completions`: what a shell has to know to complete a command line.

use clap::Command;
use clap_complete::Shell;
use clap_complete::aot::generate;

use super::screen::Screen;
use crate::clock::Clock;

const NAME: &str = "jobtrackd";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to print the script for
    shell: Known,
}

/// The shells that are known.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for a shell.
pub(super) fn run(args: &Args, command: &Command) -> anyhow::Result<()> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut offered(command), NAME, &mut script);
    let mut screen = Screen::new(Clock::system().now());
    screen.text(&String::from_utf8(script)?);
    screen.finish()
}

/// The command line without what its help hides; clap_complete would offer that too.
fn offered(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments())
        .subcommands(shown)
}
