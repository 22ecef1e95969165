//! A simulation of the whole daemon: its real machines, dialects and store in virtual time, under faults that a seed
//! decides on. See docs/development.md.

mod chance;
mod database;
mod fakes;
mod log;
mod oracle;
mod plan;
mod planted;
mod process;
mod shrink;
mod time;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use plan::Plan;
use world::{Outcome, Violation, World};

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 50;

/// What the command line says.
#[derive(Debug, Clone)]
struct Arguments {
    seeds: u64,
    first: u64,
    is_printed: bool,
    threads: usize,
    /// The bug to plant.
    planted: Option<String>,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!(
                "{wrong}; known are --seeds N, --seed S, --threads N, --trace, --planted BUG"
            );
            return ExitCode::from(2);
        }
    };
    if let Some(name) = &arguments.planted {
        return planted::run(name, &arguments);
    }
    match arguments.is_printed {
        true => one(&arguments),
        false => many(&arguments),
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments {
        seeds: SEEDS,
        first: 0,
        is_printed: false,
        threads,
        planted: None,
    };
    let mut is_one = false;
    let mut has_count = false;
    while let Some(argument) = given.next() {
        let mut number = || {
            let value = given.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--seeds" => {
                arguments.seeds = number()?;
                has_count = true;
            }
            "--seed" => {
                arguments.first = number()?;
                is_one = true;
            }
            "--threads" => arguments.threads = usize::try_from(number()?).unwrap_or(1).max(1),
            "--trace" => arguments.is_printed = true,
            "--planted" => {
                let name = given.next().ok_or("--planted needs the name of a bug")?;
                arguments.planted = Some(name);
            }
            // Cargo passes the arguments of the other test targets on.
            "--nocapture" | "--quiet" | "-q" => {}
            other if other.starts_with('-') => return Err(format!("{other} is not known")),
            // The filter of a test's name: there is one test here.
            _ => {}
        }
    }
    if is_one && !has_count {
        arguments.seeds = 1;
    }
    Ok(arguments)
}

/// Runs a plan; a panic is a violation, too.
fn run(plan: &Plan, is_printed: bool) -> Result<Outcome, Violation> {
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(plan, is_printed)?.run()));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// One seed, with everything that happens.
fn one(arguments: &Arguments) -> ExitCode {
    let plan = Plan::of(arguments.first);
    println!("seed {}", plan.seed);
    plan.print();
    match run(&plan, true) {
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("BROKEN: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// Many seeds on all processors; stops at the first that fails, shrinks and prints it.
fn many(arguments: &Arguments) -> ExitCode {
    match first_failure(arguments) {
        None => ExitCode::SUCCESS,
        Some((seed, violation)) => {
            shrink::report(seed, &violation);
            ExitCode::FAILURE
        }
    }
}

/// Runs the seeds until one fails.
fn first_failure(arguments: &Arguments) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first + arguments.seeds;
    let totals = Mutex::new((0u64, Outcome::default()));
    let failed: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.lock().is_some() {
                        return;
                    }
                    match checked(seed) {
                        Ok(outcome) => add(&mut totals.lock(), outcome),
                        Err(violation) => {
                            let mut failed = failed.lock();
                            // The lowest one, so that it does not depend on the processors.
                            if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                                *failed = Some((seed, violation));
                            }
                        }
                    }
                }
            });
        }
    });
    let (ran, total) = totals.into_inner();
    println!(
        "{ran} seeds: {} polls, {} deliveries, {} kills, {} of simulated time, {} events",
        total.polls,
        total.posts,
        total.crashes,
        time::shown(total.simulated),
        total.events
    );
    failed.into_inner()
}

/// One seed in so many is run twice, and has to be the same both times.
const TWICE: u64 = 25;

fn checked(seed: u64) -> Result<Outcome, Violation> {
    let plan = Plan::of(seed);
    let outcome = run(&plan, false)?;
    if seed.is_multiple_of(TWICE) {
        let again = run(&plan, false)?;
        if again.digest != outcome.digest {
            return Err("determinism: the same seed had another log".to_owned());
        }
    }
    Ok(outcome)
}

fn add((ran, total): &mut (u64, Outcome), outcome: Outcome) {
    *ran += 1;
    total.polls += outcome.polls;
    total.posts += outcome.posts;
    total.crashes += outcome.crashes;
    total.events += outcome.events;
    total.simulated += outcome.simulated;
}
