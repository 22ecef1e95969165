//! `webhook`: what there is to know of those who are told, and how an operator steers them.

mod handing;
mod list;
mod show;
mod standing;
mod switch;
mod test;

use anyhow::anyhow;

use super::screen::Screen;
use crate::config::{ConfigError, DatabaseSettings, Sources, load_webhooks};
use crate::core::delivery::WebhookName;
use crate::core::enqueue::nearest_name;
use crate::store::Store;
use crate::webhook::WebhookSettings;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List webhooks, how they stand and what waits for them
    List(list::Args),
    /// Show one webhook: its settings, how it stands, its latest attempts
    Show(show::Args),
    /// Send a signed sample and show the request and the answer, byte for byte
    Test(test::Args),
    /// Report a webhook again that is disabled, held or resting
    Enable(switch::EnableArgs),
    /// Hand what a webhook was not told to another one, after a change of names
    Move(handing::Args),
    /// Report a webhook nothing until it is enabled again; its events are kept
    Disable(switch::DisableArgs),
}

impl Args {
    /// Whether secrets are needed, and whether the database is.
    fn is_test(&self) -> bool {
        matches!(self.command, Command::Test(_))
    }

    /// What the command needs of the configuration.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn settings(
        &self,
        sources: &Sources,
    ) -> Result<(DatabaseSettings, Vec<WebhookSettings>), ConfigError> {
        load_webhooks(sources, self.is_test())
    }

    /// The test, which goes on without a database.
    pub(super) fn test(&self) -> Option<&test::Args> {
        match &self.command {
            Command::Test(args) => Some(args),
            _ => None,
        }
    }
}

pub(super) use test::run as run_test;

pub(super) async fn run(
    args: &Args,
    webhooks: &[WebhookSettings],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    match &args.command {
        Command::List(args) => list::run(args, webhooks, store, screen).await,
        Command::Show(args) => show::run(args, webhooks, store, screen).await,
        Command::Enable(args) => switch::enable(args, webhooks, store, screen).await,
        Command::Move(args) => handing::run(args, webhooks, store, screen).await,
        Command::Disable(args) => switch::disable(args, webhooks, store, screen).await,
        // It needs no database, and is run before one is looked for.
        Command::Test(_) => Ok(()),
    }
}

/// A webhook of the configuration or, with what it is remembered by, of the database.
async fn known(
    name: &str,
    webhooks: &[WebhookSettings],
    store: &Store,
) -> anyhow::Result<WebhookName> {
    let mut names: Vec<WebhookName> = webhooks.iter().map(|each| each.name.clone()).collect();
    names.extend(store.webhook_names().await?);
    let wanted = WebhookName::new(name);
    match names.contains(&wanted) {
        true => Ok(wanted),
        false => Err(unknown(name, &names)),
    }
}

/// The error for a name that is not there.
pub(super) fn unknown(name: &str, names: &[WebhookName]) -> anyhow::Error {
    let near = nearest_name(name, names.iter().map(WebhookName::as_str));
    let name = super::text::outside(name, 64);
    match near {
        Some(near) => anyhow!(
            "there is no webhook {name}; did you mean {near}? List those there are with: jobtrackd webhook list"
        ),
        None => {
            anyhow!("there is no webhook {name}; list those there are with: jobtrackd webhook list")
        }
    }
}
