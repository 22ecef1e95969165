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
    /// Keeps and logs an operation; returns its number.
    pub(super) fn record(
        &self,
        at: UnixMillis,
        operator: &Arc<str>,
        action: &'static str,
        target: &str,
        outcome: &Result<String, String>,
    ) -> u64 {
        let target = printable(target, CHARS);
        let (outcome, is_done) = match outcome {
            Ok(done) => (done, true),
            Err(refused) => (refused, false),
        };
        let outcome = printable(outcome, CHARS);
        if is_done {
            tracing::info!(%operator, action, target, outcome, "an operator acted");
        } else {
            tracing::info!(%operator, action, target, error = outcome, "an operator's action was refused");
        }
        let mut inner = self.0.lock();
        inner.last += 1;
        let number = inner.last;
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(Operation {
            number,
            at,
            operator: Arc::clone(operator),
            action,
            target,
            outcome,
            is_done,
        });
        number
    }

    /// The latest ones, the newest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<Operation> {
        let inner = self.0.lock();
        inner.kept.iter().rev().take(limit).cloned().collect()
    }

    /// The outcome of one, to be shown above a page.
    pub(super) fn notice(&self, number: u64) -> Option<Markup> {
        let inner = self.0.lock();
        let found = inner.kept.iter().rev().find(|each| each.number == number)?;
        let tone = if found.is_done { "good" } else { "bad" };
        Some(page::notice(tone, &found.outcome))
    }
}
