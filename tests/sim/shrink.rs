//! Finds out which parts of a plan a failure needs, by leaving parts out (delta debugging).

use std::collections::BTreeSet;

use crate::plan::{Part, Plan};
use crate::run;
use crate::world::Violation;

/// Most runs of the search.
const RUNS: usize = 300;

/// Prints a seed that fails, with the parts that it needs and the command that repeats it.
pub(crate) fn report(seed: u64, violation: &Violation) {
    println!("\nseed {seed} breaks a promise: {violation}");
    let plan = Plan::of(seed);
    let small = shrunk(&plan, class_of(violation));
    println!("what it needs:");
    small.print();
    if let Err(violation) = run(&small, false) {
        println!("  then: {violation}");
    }
    println!("repeat it with: cargo test --test sim -- --seed {seed} --trace");
}

/// What kind of promise is broken: the words before the first colon.
fn class_of(violation: &Violation) -> &str {
    violation.split(':').next().unwrap_or_default()
}

fn shrunk(plan: &Plan, class: &str) -> Plan {
    let mut runs = 0;
    let mut fails = |parts: &BTreeSet<Part>| {
        runs += 1;
        let failed = run(&plan.only(parts), false).err();
        runs <= RUNS && failed.is_some_and(|violation| class_of(&violation) == class)
    };
    let mut parts: Vec<Part> = plan.parts();
    let mut pieces = 2;
    while parts.len() > 1 {
        let size = parts.len().div_ceil(pieces);
        let without = (0..parts.len()).step_by(size).find_map(|from| {
            let rest: BTreeSet<Part> = parts
                .iter()
                .enumerate()
                .filter(|(at, _)| !(from..from + size).contains(at))
                .map(|(_, part)| *part)
                .collect();
            fails(&rest).then_some(rest)
        });
        match without {
            Some(rest) => {
                parts = rest.into_iter().collect();
                pieces = pieces.saturating_sub(1).max(2);
            }
            None if size > 1 => pieces = (pieces * 2).min(parts.len()),
            None => break,
        }
    }
    plan.only(&parts.into_iter().collect())
}
