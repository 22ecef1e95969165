//! A token is good until the API says otherwise of more than one job.

use std::collections::BTreeSet;

use super::{Facts, Oracle};
use crate::fakes::api::{Served, Shown};
use crate::plan::{ApiFault, Fault};
use crate::time::{MINUTE, Time, shown};
use crate::world::Violation;

/// A token of this age is renewed.
const OLD: Time = 45 * MINUTE;

/// Refusals of fewer jobs in a row say nothing about the token with which others are read.
const FEW: usize = 3;

impl Oracle {
    /// No token is given up because of one job, while others are read with it.
    pub(super) fn check_tokens(&self, facts: &Facts<'_>) -> Result<(), Violation> {
        let tokens = &facts.api.tokens;
        for (number, pair) in (1..).zip(tokens.windows(2)) {
            let [granted, next] = *pair else { continue };
            let is_excused = self.is_renewed(granted, next)
                || is_revoked(facts, granted, next)
                || next >= granted + OLD;
            // What was read with a token that was renewed early is remembered, and leaves no room.
            let before = usize::try_from(number)
                .ok()
                .and_then(|at| tokens.get(at.checked_sub(2)?));
            let is_fresh = before
                .is_none_or(|before| granted < before + OLD || self.is_renewed(*before, granted));
            if is_excused || !is_fresh {
                continue;
            }
            let with_it = |it: &&Served| it.request.token == Some(number) && it.received.is_some();
            let mut answers: Vec<&Served> = facts.api.served.iter().filter(with_it).collect();
            answers.sort_by_key(|it| it.received);
            let mut refused: BTreeSet<usize> = BTreeSet::new();
            let mut read: Vec<(usize, Time, Option<Time>)> = Vec::new();
            for it in answers {
                match it.shown {
                    Shown::Refused => {
                        // Of two answers that come at the same moment either may be taken first.
                        read.retain(|(.., received)| *received < it.received);
                        refused.insert(it.job);
                    }
                    // As many are remembered.
                    Shown::Job { .. }
                        if refused.is_empty()
                            && read.len() < FEW
                            && !read.iter().any(|(job, ..)| *job == it.job) =>
                    {
                        read.push((it.job, it.at, it.received));
                    }
                    _ => {}
                }
            }
            let mut proof = read.iter().filter(|(job, ..)| !refused.contains(job));
            if (1..FEW).contains(&refused.len())
                && proof.any(|(job, at, _)| self.is_followed(*job, *at, next))
            {
                return Err(format!(
                    "token: it is given up at {} because of {} jobs, while others are read",
                    shown(next),
                    refused.len()
                ));
            }
        }
        Ok(())
    }

    /// Whether a process was started, or got another secret, in between.
    fn is_renewed(&self, from: Time, until: Time) -> bool {
        self.renewals.iter().any(|at| (from..=until).contains(at))
    }

    /// Whether the job that was read is still followed: one that has ended proves nothing any more.
    fn is_followed(&self, job: usize, read: Time, until: Time) -> bool {
        let mut rows = self.rows.values().flatten();
        rows.any(|row| {
            let ended = row.ended.as_ref().map(|(at, _)| *at);
            row.number == job && row.inserted < read && ended.is_none_or(|end| end > until)
        })
    }
}

/// Whether the API itself gave the token up.
fn is_revoked(facts: &Facts<'_>, granted: Time, next: Time) -> bool {
    facts.plan.faults.iter().any(|fault| match fault {
        Fault::Api(window, ApiFault::Revoked) => {
            (granted..=next).contains(&window.from) || window.holds(granted)
        }
        _ => false,
    })
}
