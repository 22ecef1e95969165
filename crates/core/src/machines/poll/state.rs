//! Where a poll stands.

use super::Next;
use crate::etag::Etag;
use crate::observe::Evidence;

#[derive(Debug)]
pub(super) enum State {
    /// The row is being read, or a request made.
    Asking,
    /// The recorded job is being read before its first request.
    Beginning,
    /// The recorded job is being read.
    Reading(Evidence, Option<Mark>),
    /// An observation is being recorded.
    Recording {
        next: Next,
        errors_before: u32,
        mark: Option<Mark>,
    },
}

/// By what an answer is known again, once it is recorded.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) hash: u64,
    pub(super) etag: Option<Etag>,
}
