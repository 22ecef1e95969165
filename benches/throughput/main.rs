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
        if is_wanted("polling") {
            polling::run().await?;
        }
        if is_wanted("ending") {
            ending::run().await?;
        }
        if is_wanted("delivering") {
            delivering::run().await?;
        }
        if is_wanted("mixed") {
            mixed::run().await?;
        }
        if is_wanted("reacting") {
            reacting::run().await?;
        }
        if is_wanted("noticing") {
            noticing::run().await?;
        }
        if is_wanted("million") {
            million::run().await?;
        }
        println!();
        if is_wanted("writer") {
            writer::run().await?;
        }
        if is_wanted("scale") {
            scale::run().await?;
        }
        if is_wanted("webhooks") {
            webhooks::run().await?;
        }
        if is_wanted("pruning") {
            pruning::run().await?;
        }
        if is_wanted("requests") {
            requests::run().await?;
        }
        if is_wanted("dashboard") {
            dashboard::run().await?;
        }
        if is_wanted("memory") {
            memory::run().await?;
        }
        if is_wanted("bounds") {
            bounds::run().await?;
        }
        println!("took {:.0} s", begun.elapsed().as_secs_f64());
        Ok(())
    })
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    percentile(&mut figures, 50)
}
