//! A disk whose flushes take long: the daemon stays alive for its service manager, and sends nothing twice.

use anyhow::ensure;

use crate::load::Load;
use crate::manager::WATCHDOG;
use crate::rig::{Figures, Rig};
use crate::support::waiting::pause;
use crate::tracer::Tracer;

/// The delays of one flush, in milliseconds.
const DELAYS_MS: [u64; 3] = [100, 500, 2000];
const EACH_MS: u64 = 3000;

pub(super) async fn run(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    let mut daemon = rig.running().await?;
    let load = Load::start(&rig.ground, rig.database(), 50, "l");
    rig.manager.reset();
    for round in 0..rounds {
        let delay = DELAYS_MS[round % DELAYS_MS.len()];
        let log = rig.path(&format!("strace-{round}.log"));
        let faults = [format!("inject=fsync:delay_enter={}", delay * 1000)];
        let before = rig.ground.posts();
        let tracer = Tracer::attach(daemon.pid, &faults, &log).await?;
        pause(EACH_MS.max(3 * delay)).await;
        ensure!(tracer.injected() > 0, "nothing was flushed in the meantime");
        tracer.detach().await?;
        daemon.runs()?;
        ensure!(
            rig.ground.posts() > before,
            "nothing was sent with flushes of {delay} ms"
        );
    }
    let (longest, times) = rig.manager.hunger();
    ensure!(
        longest < WATCHDOG && times > 0,
        "the watchdog was not fed for {longest:?}"
    );
    load.stop().await;
    let figures = rig.finish(daemon).await?;
    let longest = usize::try_from(longest.as_millis()).unwrap_or(usize::MAX);
    Ok(figures
        .with("slow disks", rounds)
        .with("ms between meals of the watchdog at most", longest))
}
