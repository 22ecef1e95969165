//! SIGSTOP and SIGCONT, of the daemon and of another program in the middle of its transaction.

use rustix::process::Signal;

use crate::load::Load;
use crate::outside::Outside;
use crate::rig::{Figures, Rig};
use crate::support::waiting::pause;

/// The longest stop, in milliseconds; shorter than any time limit of a request.
const STOP_MS: u64 = 1500;
const BETWEEN_MS: u64 = 400;

pub(super) async fn run(rig: &mut Rig, stops: usize) -> anyhow::Result<Figures> {
    let mut daemon = rig.running().await?;
    let address = daemon.ready().await?;
    let load = Load::start(&rig.ground, rig.database(), 25, "s");
    load.post_to(Some(address));
    for number in 0..stops {
        pause(rig.random.u64(..BETWEEN_MS)).await;
        let stop_ms = rig.random.u64(..STOP_MS);
        if number % 2 == 0 {
            daemon.signal(Signal::STOP)?;
            pause(stop_ms).await;
            daemon.signal(Signal::CONT)?;
        } else {
            let job = format!("stopped-{number}");
            let mut other = Outside::start(rig.database())?;
            other.lock(&job).await?;
            other.signal(Signal::STOP)?;
            pause(stop_ms).await;
            other.signal(Signal::CONT)?;
            other.run("COMMIT;").await?;
            rig.ground.acknowledge(job);
        }
        daemon.runs()?;
    }
    load.stop().await;
    Ok(rig.finish(daemon).await?.with("stops", stops))
}
