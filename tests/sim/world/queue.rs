//! What is to happen, in order of time.

use crate::fakes::api::Request;
use crate::fakes::receiver::Post;
use crate::process::{Message, Out};
use crate::time::Time;

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// The process of this epoch wants this to be done.
    Do(u64, Box<Out>),
    /// It is handed this.
    Hand(u64, Box<Message>),
    /// It wanted to be woken.
    Wake(u64),
    /// A process is started.
    Start,
    /// The fault of this number begins.
    Fault(usize),
    /// The action of this number is done.
    Action(usize),
    /// The row of this job is inserted.
    Insert(usize),
    /// A request for a job arrives at the API; what it gets, and when.
    AtApi(Asked),
    AtTokens(u64),
    AtReceiver(Box<Sent>),
    /// Everything is healed.
    Heal,
    /// To see whether all is done.
    Check,
}

impl Event {
    pub(super) fn hand(epoch: u64, message: Message) -> Self {
        Self::Hand(epoch, Box::new(message))
    }
}

/// A request to the API under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) epoch: u64,
    pub(super) poll: u64,
    pub(super) request: u32,
    pub(super) what: Request,
    /// When the process gives up.
    pub(super) timeout: Time,
}

/// A request to a receiver under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) epoch: u64,
    pub(super) post: Post,
    pub(super) job: jobtrackd_core::job::JobId,
    pub(super) started: Time,
    /// What the daemon's clock showed.
    pub(super) wall: i64,
    pub(super) timeout: Time,
}

/// An event in the queue: by time, then by chance, then in the order in which they were put.
pub(super) struct Queued {
    pub(super) at: Time,
    pub(super) order: u64,
    pub(super) number: u64,
    pub(super) event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Queued {
    pub(super) fn key(&self) -> (Time, u64, u64) {
        (self.at, self.order, self.number)
    }
}
