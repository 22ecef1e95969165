//! The line in `systemctl status`: problems, and numbers of jobs, polls and deliveries.

use crate::status::Report;

/// Pending deliveries are counted up to this number.
pub(super) const COUNTED: u32 = 10_000;

/// Most characters of the line; systemd would show more, but it has to stay readable.
const LONGEST: usize = 300;

/// Problems first, worst first, then the numbers.
pub(super) fn status(report: &Report, pending: Option<u32>, reload_error: Option<&str>) -> String {
    let mut parts = Vec::new();
    let problems = &report.problems;
    if !problems.unready.is_empty() {
        parts.push(format!("Not ready: {}", problems.unready.join("; ")));
    }
    if !problems.degraded.is_empty() {
        parts.push(format!("Degraded: {}", problems.degraded.join("; ")));
    }
    if let Some(error) = reload_error {
        let lines: Vec<&str> = error.lines().map(str::trim).collect();
        let error = lines.join("; ");
        parts.push(format!(
            "The last reload was refused, the old settings stay: {error}"
        ));
    }
    let mut work = format!(
        "Following {}, {}",
        counted(report.followed, "job", "jobs"),
        counted(report.in_flight, "poll in flight", "polls in flight")
    );
    match pending {
        Some(many) if many >= COUNTED => {
            work.push_str(&format!("; {COUNTED} deliveries pending, or more"));
        }
        Some(pending) => {
            let pending = usize::try_from(pending).unwrap_or(usize::MAX);
            work.push_str(&format!(
                "; {}",
                counted(pending, "delivery pending", "deliveries pending")
            ));
        }
        None => {}
    }
    parts.push(work);
    crate::core::text::printable(&parts.join(" | "), LONGEST)
}

fn counted(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Problems;

    fn report(unready: &[&str], degraded: &[&str]) -> Report {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Report {
            problems: Problems {
                unready: owned(unready),
                degraded: owned(degraded),
            },
            followed: 1204,
            in_flight: 1,
            unknown_webhooks: 0,
        }
    }

    #[test]
    fn without_problems_the_line_has_the_numbers_alone() {
        assert_eq!(
            status(&report(&[], &[]), Some(2), None),
            "Following 1204 jobs, 1 poll in flight; 2 deliveries pending"
        );
        assert_eq!(
            status(&report(&[], &[]), Some(COUNTED), None),
            "Following 1204 jobs, 1 poll in flight; 10000 deliveries pending, or more"
        );
    }

    #[test]
    fn problems_come_first_and_on_one_line() {
        let report = report(&["the disk is full"], &["there is no token\nsince noon"]);
        assert_eq!(
            status(&report, None, Some("bad configuration\n  a: unknown key")),
            "Not ready: the disk is full | Degraded: there is no token\\nsince noon | \
             The last reload was refused, the old settings stay: bad configuration; a: unknown key | \
             Following 1204 jobs, 1 poll in flight"
        );
    }
}
