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
            let is_renewed = self.renewals.iter().any(|at| (granted..=next).contains(at));
            let is_revoked = facts.plan.faults.iter().any(|fault| match fault {
                Fault::Api(window, ApiFault::Revoked) => {
                    (granted..=next).contains(&window.from) || window.holds(granted)
                }
                _ => false,
            });
            if is_renewed || is_revoked || next >= granted + OLD {
                continue;
            }
            let with_it = |it: &&Served| it.request.token == Some(number) && it.received.is_some();
            let answers = facts.api.served.iter().filter(with_it);
            let refused: BTreeSet<usize> = answers
                .clone()
                .filter(|it| it.shown == Shown::Refused)
                .map(|it| it.job)
                .collect();
            let first = answers.clone().find(|it| it.shown == Shown::Refused);
            // One that has ended proves nothing any more.
            let is_followed = |job: usize| {
                let mut rows = self.rows.values().flatten();
                rows.any(|row| {
                    let ended = row.ended.as_ref().map(|(at, _)| *at);
                    row.number == job && row.inserted < next && ended.is_none_or(|at| at > next)
                })
            };
            let is_read = |it: &Served| {
                let is_job = matches!(it.shown, Shown::Job { .. });
                is_job && !refused.contains(&it.job) && is_followed(it.job)
            };
            let Some(first) = first else { continue };
            let mut before = answers.filter(|it| it.received < Some(first.at));
            if refused.len() < FEW && before.any(is_read) {
                return Err(format!(
                    "token: it is given up at {} because of {} jobs, while others are read",
                    shown(next),
                    refused.len()
                ));
            }
        }
        Ok(())
    }
}
