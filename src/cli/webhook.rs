//! `webhook`: shows and manages webhooks.

mod show;
mod steer;
mod test;

use super::session::{as_owner, on_store};
use crate::config::{Settings, Sources, Wanted, load_with};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List webhooks, their health and what waits for them
    List(show::ListArgs),
    /// Show one webhook: its settings, its health, its latest attempts
    Show(steer::NameArgs),
    /// Send a signed sample and show the request and the answer, byte for byte
    Test(test::Args),
    /// Enable a webhook that is disabled, or end its hold or pause
    #[command(after_help = include_str!("help/webhook-enable.txt").trim_end())]
    Enable(steer::NameArgs),
    /// Move undelivered events of a webhook to another one, for example after it was renamed
    Move(steer::MoveArgs),
    /// Send nothing to a webhook until it is enabled; its events are kept
    Disable(steer::DisableArgs),
}

pub(super) fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    let wanted = Wanted {
        of_webhooks: matches!(args.command, Command::Test(_)),
        ..Wanted::default()
    };
    let Settings {
        database, webhooks, ..
    } = load_with(sources, wanted)?;
    if let Command::Test(args) = &args.command {
        return as_owner(&database, test::run(args, &webhooks, &database));
    }
    on_store(&database, async |store, screen| match &args.command {
        Command::List(args) => show::list(args, &webhooks, store, screen).await,
        Command::Show(args) => show::show(args, &webhooks, store, screen).await,
        Command::Enable(args) => steer::enable(args, &webhooks, store, screen).await,
        Command::Move(args) => steer::hand_over(args, &webhooks, store, screen).await,
        Command::Disable(args) => steer::disable(args, &webhooks, store, screen).await,
        // Done above, since it needs no database.
        Command::Test(_) => Ok(()),
    })
}
