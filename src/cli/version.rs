//! `--version`: what a report of a problem should begin with.

use super::block_on;
use super::screen::Screen;
use crate::clock::Clock;
use crate::store::sqlite_version;

/// Prints the version, the commit it was built from, and the SQLite it works with.
pub(super) fn run() -> anyhow::Result<()> {
    block_on(async {
        let sqlite = sqlite_version().await?;
        let mut screen = Screen::new(Clock::system().now());
        screen.line(&format!(
            "jobtrackd {version} ({commit}) SQLite {sqlite}",
            version = env!("CARGO_PKG_VERSION"),
            commit = env!("JOBTRACKD_COMMIT"),
        ));
        screen.finish()
    })
}
