//! How commands reach the database: its path, the user as whom it is opened, and the runtime.

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::privilege::leave_to_owner;
use super::screen::Screen;
use crate::clock::{Clock, Jitter};
use crate::config::DatabaseSettings;
use crate::sockets::Sockets;
use crate::store::Store;
use crate::store::sqlite::DatabaseFile;
use crate::upstream::{AnswerMemory, Upstream, UpstreamSettings};

/// Runs a command's work on the database, which must exist. Output before a failure is flushed before the error.
pub(super) fn on_store(
    database: &DatabaseSettings,
    work: impl AsyncFnOnce(&Store, &mut Screen) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    as_owner(database, async {
        let clock = Clock::system();
        let store = Store::open(database_file(database), clock.clone()).await?;
        let mut screen = Screen::new(clock.now());
        let done = work(&store, &mut screen).await;
        let printed = screen.finish();
        store.leave().await;
        done.and(printed)
    })
}

/// Runs work that opens the database; as root, as the owner of its folder.
pub(super) fn as_owner(
    database: &DatabaseSettings,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    leave_to_owner(&database.path)?;
    block_on(work)
}

pub(super) fn database_file(database: &DatabaseSettings) -> DatabaseFile<'_> {
    DatabaseFile::new(&database.path, database.allow_network_filesystem)
}

/// A client of the API for one command.
pub(super) fn upstream(settings: &UpstreamSettings, clock: &Clock) -> anyhow::Result<Upstream> {
    let (jitter, sockets) = (Jitter::system(), Sockets::default());
    Ok(Upstream::new(
        settings,
        clock.clone(),
        jitter,
        sockets,
        AnswerMemory::default(),
    )?)
}

/// Awaits `work` to its end, and cancels `stop` whenever `is_end` returns true.
pub(super) async fn cancelling<T>(
    stop: &CancellationToken,
    mut is_end: impl AsyncFnMut() -> bool,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return output,
            is_end = is_end() => if is_end {
                stop.cancel();
            },
        }
    }
}

pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(work)
}

/// The runtime of a command's asynchronous work.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the program cannot start its runtime")
}
