//! The release binary as a process under kills, stops, broken, slow and full disks, power cuts and other programs:
//!
//!     cargo test --release --test torture -- --short | --long [--only NAME,…] [--seed N] [--binary PATH]
//!
//! Without `--short` or `--long` only the oracle is tested. It takes root: everything happens in namespaces of its own, so
//! that nothing that is mounted or started outlives it.

mod arguments;
mod course;
mod daemon;
mod disk;
mod fakes;
mod ground;
mod load;
mod manager;
mod needs;
mod oracle;
mod outside;
mod rig;
mod scenarios;
mod self_check;
mod signals;
mod support;
mod tables;
mod tracer;

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use arguments::{Arguments, Asked};
use scenarios::{SCENARIOS, Scenario};

/// Scenarios at once: they mostly wait.
const AT_ONCE: usize = 3;

fn main() -> anyhow::Result<ExitCode> {
    if !needs::is_inside() {
        let found = self_check::run();
        println!("the oracle finds all of {found} kinds of broken evidence");
    }
    let arguments = match Arguments::read(std::env::args().skip(1))? {
        Asked::Nothing => {
            println!(
                "skipped: the scenarios; run them with: cargo test --release --test torture -- --short"
            );
            return Ok(ExitCode::SUCCESS);
        }
        Asked::Run(arguments) => arguments,
    };
    if let Some(why) = needs::missing(&arguments.binary) {
        println!("SKIPPED: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    if !needs::is_inside() {
        return needs::go_inside();
    }
    jobtrackd::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(match LocalSet::new().block_on(&runtime, run(arguments)) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Runs what is asked for; answers how many scenarios failed.
async fn run(arguments: Arguments) -> usize {
    println!("seed {}, {}", arguments.seed, arguments.binary.display());
    let (began, turns) = (Instant::now(), Arc::new(Semaphore::new(AT_ONCE)));
    let arguments = Arc::new(arguments);
    let mut running = JoinSet::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| arguments.wants(scenario.name))
    {
        running.spawn_local(one(scenario, Arc::clone(&arguments), Arc::clone(&turns)));
    }
    let mut failed = 0;
    while let Some(ended) = running.join_next().await {
        // A scenario that panicked has printed why.
        failed += usize::from(!ended.unwrap_or(false));
    }
    println!(
        "{failed} scenarios failed, {:.0} s",
        began.elapsed().as_secs_f64()
    );
    failed
}

async fn one(
    scenario: &'static Scenario,
    arguments: Arc<Arguments>,
    turns: Arc<Semaphore>,
) -> bool {
    let name = scenario.name;
    let Ok(_turn) = turns.acquire_owned().await else {
        return false;
    };
    if let Some(why) = (scenario.missing)() {
        println!("SKIPPED {name}: {why}");
        return true;
    }
    let began = Instant::now();
    let ended = scenario.run(&arguments).await;
    let took = began.elapsed().as_secs_f64();
    match &ended {
        Ok(figures) => println!("ok      {name} ({took:.0} s): {figures}"),
        Err(why) => println!("FAILED  {name} ({took:.0} s): {why:#}"),
    }
    ended.is_ok()
}
