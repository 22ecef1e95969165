//! The figures of docs/limits-and-figures.md, measured: `cargo bench` those of how fast it is, in ten minutes; `cargo bench -- all`
//! every one.
//!
//! Machines differ and are rarely idle, so what counts are ratios of two things measured in turn in one run. Every
//! figure is printed with the conditions it holds under.

mod answers;
mod bare;
mod bounds;
mod daemon;
mod dashboard;
mod delivering;
mod ending;
mod flows;
mod memory;
mod million;
mod mixed;
mod noticing;
mod peers;
mod place;
mod polling;
mod pruning;
mod reacting;
mod receiver;
mod requests;
mod scale;
mod table;
mod upstream;
mod webhooks;
mod writer;

use jobtrackd::measuring::percentile;
use tokio::time::Instant;

/// That of the daemon, so that bare loops differ from it in what they do alone.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The parts that are measured when none is named, in ten minutes together; the others are measured by name.
const USUAL: [&str; 7] = [
    "polling",
    "ending",
    "delivering",
    "mixed",
    "reacting",
    "noticing",
    "million",
];

/// Runs those of these parts that are wanted.
macro_rules! run {
    ($is_wanted:ident: $($part:ident)+) => {
        $(if $is_wanted(stringify!($part)) {
            $part::run().await?;
        })+
    };
}

fn main() -> anyhow::Result<()> {
    jobtrackd::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if let Some((_, role)) = arguments
            .split_first()
            .filter(|(first, _)| *first == peers::AS)
        {
            return peers::play(role).await;
        }
        let begun = Instant::now();
        println!("{}\n", place::conditions()?);
        // Named parts only, if any are named: cargo bench -- delivering
        let named: Vec<String> = arguments
            .into_iter()
            .filter(|word| !word.starts_with('-'))
            .collect();
        let is_named = |part: &str| named.iter().any(|word| word == part || word == "all");
        let is_wanted = |part: &str| is_named(part) || (named.is_empty() && USUAL.contains(&part));
        if USUAL.into_iter().any(is_wanted) {
            table::head();
        }
        run!(is_wanted: polling ending delivering mixed reacting noticing million);
        println!();
        run!(is_wanted: writer scale webhooks pruning requests dashboard memory bounds);
        println!("took {:.0} s", begun.elapsed().as_secs_f64());
        Ok(())
    })
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    percentile(&mut figures, 50)
}
