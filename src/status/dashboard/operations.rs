//! What operators have done on the dashboard: logged, and the latest kept in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use maud::Markup;
use parking_lot::Mutex;

use super::page;
use crate::core::text::printable;
use crate::core::time::UnixMillis;

/// Operations that are kept; the log has all of them.
const KEPT: usize = 1000;

/// Longest target and outcome that are kept, in characters.
const CHARS: usize = 300;

/// Something that an operator did, or was refused.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) number: u64,
    pub(super) at: UnixMillis,
    pub(super) operator: Arc<str>,
    pub(super) action: &'static str,
    pub(super) target: String,
    /// What came of it, in a sentence.
    pub(super) outcome: String,
    pub(super) is_done: bool,
    /// The path of the page that shows it.
    pub(super) page: String,
}

/// The latest operations.
#[derive(Debug, Default)]
pub(super) struct Operations(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    kept: VecDeque<Operation>,
}

impl Operations {
    /// Keeps and logs an operation; returns its number, which no other one has or had before a restart.
    pub(super) fn record(&self, mut done: Operation) -> u64 {
        done.target = printable(&done.target, CHARS);
        done.outcome = printable(&done.outcome, CHARS);
        let Operation {
            operator,
            action,
            target,
            outcome,
            ..
        } = &done;
        if done.is_done {
            tracing::info!(%operator, action, target, outcome, "an operator acted");
        } else {
            tracing::info!(%operator, action, target, error = outcome, "an operator's action was refused");
        }
        let mut inner = self.0.lock();
        let now = u64::try_from(done.at.0).unwrap_or(0);
        done.number = now.max(inner.last + 1);
        inner.last = done.number;
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(done);
        inner.last
    }

    /// The latest ones, the newest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<Operation> {
        let inner = self.0.lock();
        inner.kept.iter().rev().take(limit).cloned().collect()
    }

    /// The outcome of one, to be shown above the page that it leads to.
    pub(super) fn notice(&self, number: u64, page: &str) -> Option<Markup> {
        let inner = self.0.lock();
        let mut kept = inner.kept.iter().rev();
        let found = kept.find(|each| each.number == number && each.page == page)?;
        let tone = if found.is_done { "good" } else { "bad" };
        Some(page::notice(tone, &found.outcome, true))
    }
}
