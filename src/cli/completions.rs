//! `completions`: what a shell has to know to complete a command line.

use clap::Command;
use clap_complete::Shell;
use clap_complete::aot::generate;

use super::print::print;

const NAME: &str = "jobtrackd";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to print the script for
    shell: Offered,
}

/// The shells that scripts are made for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Offered {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for a shell.
pub(super) fn run(args: &Args, command: &Command) -> anyhow::Result<()> {
    let shell = match args.shell {
        Offered::Bash => Shell::Bash,
        Offered::Zsh => Shell::Zsh,
        Offered::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut offered(command), NAME, &mut script);
    print(&String::from_utf8(script)?)
}

/// The command line without what its help hides; clap_complete would offer that too.
fn offered(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments())
        .subcommands(shown)
}
