//! What the README claims, measured: `cargo bench`.
//!
//! Machines differ and are rarely idle, so what counts are ratios of two things measured in turn in one run. Every
//! figure is printed with the conditions it holds under; the whole takes less than 90 seconds.

mod daemon;
mod noticing;
mod place;
mod polling;
mod scale;
mod upstream;
mod writer;

use tokio::time::Instant;

fn main() -> anyhow::Result<()> {
    jobtrackd::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        println!("{}\n", place::conditions()?);
        polling::run().await?;
        writer::run().await?;
        noticing::run().await?;
        scale::run().await?;
        println!("took {:.0} s", begun.elapsed().as_secs_f64());
        Ok(())
    })
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    percentile(&mut figures, 50)
}

/// The figure that `percent` of the figures do not exceed.
fn percentile(figures: &mut [f64], percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() * percent).div_ceil(100).max(1) - 1;
    figures.get(rank).copied().unwrap_or(f64::NAN)
}
