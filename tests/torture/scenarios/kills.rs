//! SIGKILL at random moments, from before the daemon is ready until it is at full work.

use crate::load::Load;
use crate::rig::{Figures, Rig};
use crate::support::waiting::pause;

/// The longest life of a daemon, in milliseconds: before it is ready, and from then on.
const UNREADY_MS: u64 = 60;
const READY_MS: u64 = 300;
/// Everything is checked after so many kills.
const CHECK_EVERY: usize = 10;

pub(super) async fn run(rig: &mut Rig, kills: usize) -> anyhow::Result<Figures> {
    rig.migrate().await?;
    let load = Load::start(&rig.ground, rig.database(), 25, "k");
    for number in 1..=kills {
        let mut daemon = rig.start()?;
        if rig.random.u8(..4) == 0 {
            pause(rig.random.u64(..UNREADY_MS)).await;
        } else {
            load.post_to(Some(daemon.ready().await?));
            pause(rig.random.u64(..READY_MS)).await;
        }
        daemon.kill().await?;
        if number % CHECK_EVERY == 0 {
            rig.check().await?;
        }
    }
    load.stop().await;
    let daemon = rig.running().await?;
    Ok(rig.finish(daemon).await?.with("kills", kills))
}
