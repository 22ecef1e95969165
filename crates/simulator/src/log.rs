//! The log of requests and their answers.

use std::collections::VecDeque;

use serde::Serialize;

use jobtrackd_core::time::UnixMillis;

/// One request to the API. Requests to the control routes are not in the log.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedRequest {
    /// 1, 2, 3… in order of arrival.
    pub number: u64,
    /// When it arrived.
    pub at: UnixMillis,
    /// `GET`, `POST`…
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Whether it carried a token or a key that was valid then, or needed none.
    pub authorized: bool,
    /// The user of the `CLIENT_ACCESS` token it carried; `None` with any other, or none.
    pub user: Option<String>,
    /// The job in the path.
    pub job: Option<String>,
    /// The answer's status; `None` while there is none, and for ever if the client left before.
    pub status: Option<u16>,
    /// The fault that was used.
    pub fault: Option<&'static str>,
}

/// Sums over the simulator's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Requests to the API.
    pub requests: u64,
    /// Of them, the most that were open at the same time.
    pub most_at_once: u64,
    /// Tokens granted.
    pub tokens: u64,
    /// Jobs created.
    pub jobs: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) totals: Totals,
    entries: VecDeque<LoggedRequest>,
    open: u64,
    limit: usize,
}

impl Log {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            totals: Totals::default(),
            entries: VecDeque::new(),
            open: 0,
            limit,
        }
    }

    /// Adds a request and returns its number; drops the oldest one when the log is full.
    pub(super) fn arrived(&mut self, mut entry: LoggedRequest) -> u64 {
        self.totals.requests += 1;
        self.open += 1;
        self.totals.most_at_once = self.totals.most_at_once.max(self.open);
        entry.number = self.totals.requests;
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
        }
        if self.limit > 0 {
            self.entries.push_back(entry);
        }
        self.totals.requests
    }

    pub(super) fn left(&mut self, number: u64, status: Option<u16>) {
        self.open = self.open.saturating_sub(1);
        if let Some(entry) = self.entry(number) {
            entry.status = status;
        }
    }

    /// The remembered requests after `after`, oldest first, at most `limit`.
    pub(super) fn after(&self, after: u64, limit: usize) -> Vec<LoggedRequest> {
        let later = self.entries.iter().filter(|entry| entry.number > after);
        later.take(limit).cloned().collect()
    }

    fn entry(&mut self, number: u64) -> Option<&mut LoggedRequest> {
        let first = self.entries.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }
}
