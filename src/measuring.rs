//! What `cargo bench` and `jobtrackd bench` measure with: processor time, percentiles, and what this machine is.

use std::time::Duration;
use std::{fs, io};

/// The figure that `percent` of the figures do not exceed; NaN if there are none.
#[must_use]
pub fn percentile(figures: &mut [f64], percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() * percent).div_ceil(100).max(1) - 1;
    figures.get(rank).copied().unwrap_or(f64::NAN)
}

/// Time all threads of a process (a number, or `self`) have spent on a processor. Unlike the time of day it does not count
/// what other programs took meanwhile.
///
/// # Errors
/// When there is no such process.
pub fn processor_time(process: &str) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end while the others are read.
        let spent = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = spent.split(' ').next();
        nanos += first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0_u64);
    }
    Ok(Duration::from_nanos(nanos))
}

/// The model of the processor, as far as it is known.
#[must_use]
pub fn processor() -> String {
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("an unknown processor".to_owned(), |(_, model)| {
        model.to_owned()
    })
}

/// How many threads wanted a processor, on average over the last minute.
#[must_use]
pub fn load() -> Option<f64> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let mut figures = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(
            [50, 99, 100, 0].map(|percent| percentile(&mut figures, percent)),
            [2.0, 4.0, 4.0, 1.0]
        );
        assert!(percentile(&mut [], 50).is_nan());
    }

    #[test]
    fn the_processor_time_of_this_process_grows_and_that_of_none_is_an_error() {
        let before = processor_time("self").unwrap();
        let mut sum = 0_u64;
        while processor_time("self").unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_time("0").is_err());
    }
}
