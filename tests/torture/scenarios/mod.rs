//! The scenarios, in their order.

mod full;
mod io_errors;
mod kills;
mod power;
mod slow;
mod stops;
mod writers;

use anyhow::Context as _;

use crate::arguments::Arguments;
use crate::needs;
use crate::rig::{Figures, Rig};

/// The words of the daemon for its own troubles.
const CANNOT_WRITE: &str = "the database cannot be written; nothing is sent until it can";
const CAN_WRITE: &str = "the database can be written again";

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Why it cannot be run here.
    pub(crate) missing: fn() -> Option<String>,
    which: Which,
}

#[derive(Clone, Copy)]
enum Which {
    Power,
    PowerControl,
    PowerUnflushed,
    Kills,
    Stops,
    IoErrors,
    FullCalls,
    FullDisk,
    SlowDisk,
    Writers,
    WritersUmask,
}

pub(crate) const SCENARIOS: [Scenario; 11] = [
    // A cut loses nothing that was acknowledged.
    Scenario {
        name: "power",
        missing: needs::power,
        which: Which::Power,
    },
    // The same cuts lose something of a program that writes with synchronous=NORMAL.
    Scenario {
        name: "power-control",
        missing: needs::power,
        which: Which::PowerControl,
    },
    // They lose something of the daemon if its flushes do nothing.
    Scenario {
        name: "power-unflushed",
        missing: needs::power_and_strace,
        which: Which::PowerUnflushed,
    },
    Scenario {
        name: "kills",
        missing: needs::nothing,
        which: Which::Kills,
    },
    Scenario {
        name: "stops",
        missing: needs::nothing,
        which: Which::Stops,
    },
    Scenario {
        name: "io-errors",
        missing: needs::strace,
        which: Which::IoErrors,
    },
    Scenario {
        name: "full-calls",
        missing: needs::strace,
        which: Which::FullCalls,
    },
    Scenario {
        name: "full-disk",
        missing: needs::small_disk,
        which: Which::FullDisk,
    },
    Scenario {
        name: "slow-disk",
        missing: needs::strace,
        which: Which::SlowDisk,
    },
    Scenario {
        name: "writers",
        missing: needs::nothing,
        which: Which::Writers,
    },
    Scenario {
        name: "writers-umask",
        missing: needs::users,
        which: Which::WritersUmask,
    },
];

impl Scenario {
    pub(crate) async fn run(&self, arguments: &Arguments) -> anyhow::Result<Figures> {
        let mut rig = Rig::new(&arguments.binary, arguments.seed).await?;
        let is_long = arguments.is_long;
        // How often, in the short form and in the long one.
        let times = |short: usize, long: usize| if is_long { long } else { short };
        let ended = match self.which {
            Which::Power => power::cuts(&mut rig, times(10, 80)).await,
            Which::PowerControl => power::control(&mut rig, times(4, 20)).await,
            Which::PowerUnflushed => power::unflushed(&mut rig).await,
            Which::Kills => kills::run(&mut rig, times(60, 600)).await,
            Which::Stops => stops::run(&mut rig, times(8, 100)).await,
            Which::IoErrors => io_errors::run(&mut rig, times(12, 80)).await,
            Which::FullCalls => full::calls(&mut rig, times(2, 20)).await,
            Which::FullDisk => full::disk(&mut rig, times(2, 20)).await,
            Which::SlowDisk => slow::run(&mut rig, times(3, 20)).await,
            Which::Writers => writers::run(&mut rig, times(1, 10)).await,
            Which::WritersUmask => writers::umask(&mut rig, times(4, 40)).await,
        };
        ended.with_context(|| format!("its folder is {}", rig.keep().display()))
    }
}
