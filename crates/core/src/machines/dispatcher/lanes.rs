//! Which lanes have a request in flight or an outcome that is not recorded: nothing else is sent in them.

use std::collections::BTreeMap;

use super::attempt::Attempt;
use crate::job::JobId;

/// The lanes in which nothing may be sent, by job.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    in_flight: BTreeMap<JobId, Attempt>,
    unrecorded: BTreeMap<JobId, Unrecorded>,
    /// Events whose outcome could not be recorded. They are not sent again before the next start: again and again without a
    /// record would be worse. Another event at the head of the lane is sent, since somebody has then given up this one or
    /// deleted its job.
    refused: BTreeMap<JobId, String>,
    /// Events whose attempt ended while a query was open, whose answer may still have them as due.
    ended: BTreeMap<JobId, String>,
}

/// An attempt that has ended and is being recorded.
#[derive(Debug)]
pub(super) struct Unrecorded {
    pub(super) event_id: String,
    /// Whether it pauses or disables the webhook.
    pub(super) stops: bool,
    /// Jumps of the clock until the attempt ended.
    pub(super) jumps: u64,
}

impl Lanes {
    /// Requests in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Attempts that are being recorded.
    pub(super) fn unrecorded(&self) -> usize {
        self.unrecorded.len()
    }

    /// Whether every outcome is recorded, or never will be.
    pub(super) fn are_idle(&self) -> bool {
        self.in_flight.is_empty() && self.unrecorded.is_empty()
    }

    /// Lanes whose heads may be found due and are not sent.
    pub(super) fn len(&self) -> u32 {
        let lanes = self.in_flight.len() + self.unrecorded.len() + self.refused.len();
        u32::try_from(lanes).unwrap_or(u32::MAX)
    }

    /// Their events.
    pub(super) fn events(&self) -> Vec<String> {
        let in_flight = self.in_flight.values();
        let in_flight = in_flight.map(|attempt| &attempt.delivery.event_id);
        let unrecorded = self.unrecorded.values().map(|each| &each.event_id);
        let events = in_flight.chain(unrecorded).chain(self.refused.values());
        events.cloned().collect()
    }

    /// Whether this event may not be sent in the lane of its job.
    pub(super) fn are_closed_for(&self, job_id: &JobId, event_id: &str) -> bool {
        let refused = self.refused.get(job_id);
        self.in_flight.contains_key(job_id)
            || self.unrecorded.contains_key(job_id)
            || refused.is_some_and(|refused| refused == event_id)
            || self.ended.contains_key(job_id)
    }

    /// Whether it is this event that keeps the lane of its job closed.
    pub(super) fn hold(&self, job_id: &JobId, event_id: &str) -> bool {
        let attempt = self.in_flight.get(job_id);
        let in_flight = attempt.map(|attempt| &attempt.delivery.event_id);
        let unrecorded = self.unrecorded.get(job_id).map(|each| &each.event_id);
        let others = [self.refused.get(job_id), self.ended.get(job_id)];
        let mut events = [in_flight, unrecorded].into_iter().chain(others).flatten();
        events.any(|each| each == event_id)
    }

    /// Whether an attempt that is being recorded pauses or disables the webhook.
    pub(super) fn are_stopping(&self) -> bool {
        self.unrecorded.values().any(|each| each.stops)
    }

    pub(super) fn begin(&mut self, attempt: Attempt) {
        let job_id = attempt.delivery.job_id.clone();
        self.in_flight.insert(job_id, attempt);
    }

    /// The attempt, whose request has ended.
    pub(super) fn end(&mut self, job_id: &JobId) -> Option<Attempt> {
        self.in_flight.remove(job_id)
    }

    pub(super) fn record(&mut self, job_id: JobId, outcome: Unrecorded) {
        self.unrecorded.insert(job_id, outcome);
    }

    /// The attempt whose outcome is recorded, or refused.
    pub(super) fn recorded(&mut self, job_id: &JobId) -> Option<Unrecorded> {
        self.unrecorded.remove(job_id)
    }

    /// Keeps the lane closed until the next start.
    pub(super) fn refuse(&mut self, job_id: JobId, event_id: String) {
        self.refused.insert(job_id, event_id);
    }

    /// Keeps the lane closed until [`Lanes::open_ended`].
    pub(super) fn keep(&mut self, job_id: JobId, event_id: String) {
        self.ended.insert(job_id, event_id);
    }

    /// The answer to the query was processed.
    pub(super) fn open_ended(&mut self) {
        self.ended.clear();
    }
}
