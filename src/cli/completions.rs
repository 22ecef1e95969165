//! `completions`: scripts with which a shell completes command lines.

use clap::Command;
use clap::builder::TypedValueParser;
use clap_complete::Shell;
use clap_complete::aot::generate;

use super::options;
use super::screen::print;

const NAME: &str = "jobtrackd";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell to print the script for
    #[arg(value_parser = shells())]
    shell: Shell,
}

/// The shells that scripts are made for.
fn shells() -> impl TypedValueParser<Value = Shell> {
    options::words(
        [Shell::Bash, Shell::Zsh, Shell::Fish],
        |shell| match shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            _ => "fish",
        },
    )
}

/// Prints the script for a shell.
pub(super) fn run(args: &Args, command: &Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut offered(command), NAME, &mut script);
    print(&String::from_utf8(script)?)
}

/// The command line without hidden options and commands, which clap_complete would offer too.
fn offered(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments())
        .subcommands(shown)
}
