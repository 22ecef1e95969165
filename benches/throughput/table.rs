//! The table of what was measured, in Markdown: a row as soon as it is known.

use super::median;

/// What one round of the daemon, or of a bare loop, showed.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Things per second.
    rate: f64,
    /// Processor time of the measured process per thing, in microseconds.
    cost: f64,
}

impl Round {
    pub(crate) fn new(things: f64, seconds: f64, cpu: f64) -> Self {
        Self {
            rate: things / seconds,
            cost: cpu / things * 1e6,
        }
    }

    /// What a bare loop says of itself.
    pub(crate) fn said(things: f64, line: &str) -> anyhow::Result<Self> {
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        let mut next = || Ok::<_, anyhow::Error>(numbers.next().unwrap_or(Ok(f64::NAN))?);
        Ok(Self::new(things, next()?, next()?))
    }
}

/// The rows after it belong to one table.
pub(crate) fn head() {
    println!("| what | daemon | bare loop | ratio | aim |\n|---|---:|---:|---:|---|");
}

/// A figure without anything to compare it with.
pub(crate) fn alone(what: &str, figure: &str, aim: &str) {
    println!("| {what} | {figure} | – | – | {aim} |");
}

/// A figure of the daemon, and that of the other side.
pub(crate) fn beside(what: &str, unit: &str, daemon: f64, bare: f64, aim: &str) {
    let ratio = daemon / bare;
    println!("| {what} | {daemon:.1} {unit} | {bare:.1} {unit} | {ratio:.2} | {aim} |");
}

/// Medians of the rates and costs of both, and of the ratios of their rates.
pub(crate) fn rounds(what: &str, daemon: &[Round], bare: &[Round], aim: &str) {
    let middle =
        |figure: fn(&Round) -> f64, rounds: &[Round]| median(rounds.iter().map(figure).collect());
    let both = |rounds| {
        let (rate, cost) = (
            middle(|round| round.rate, rounds),
            middle(|round| round.cost, rounds),
        );
        format!("{rate:.0}/s, {cost:.1} µs")
    };
    let pairs = daemon.iter().zip(bare);
    let ratios = pairs.map(|(daemon, bare)| daemon.rate / bare.rate);
    println!(
        "| {what} | {} | {} | {:.2} | {aim} |",
        both(daemon),
        both(bare),
        median(ratios.collect()),
    );
}
