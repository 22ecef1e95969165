//! What a throttled poll means for all other polls: little, until another job is throttled too (docs/jobs.md, "Errors of
//! one job delay that job").

use std::time::Duration;

use super::closure::{Closure, GateReasonKind, Ticket, extend, is_later};
use super::pauses::{THROTTLED, grown, lengthened};
use crate::job::JobId;
use crate::time::Monotonic;

/// How long all others wait when one job was throttled; then another one is polled on trial.
const ALONE: Duration = Duration::from_secs(1);

/// The throttling since the last answer that was not throttled.
#[derive(Debug, Default)]
pub(super) struct Throttling {
    closure: Option<Closure>,
    /// The only job that was throttled, unless others were too.
    alone: Option<JobId>,
    /// How many pauses of all jobs there were in a row.
    pauses: u32,
}

/// One throttled poll.
pub(super) struct Throttled<'a> {
    pub(super) ticket: Ticket,
    pub(super) job: &'a JobId,
    pub(super) detail: &'a str,
    pub(super) retry_after: Option<Duration>,
    /// The last ticket given out.
    pub(super) last: Ticket,
    /// The longest pause that the upstream can ask for.
    pub(super) most: Duration,
}

impl Throttling {
    /// The gate's closure because of it.
    pub(super) fn closure(&self) -> Option<&Closure> {
        self.closure.as_ref()
    }

    /// The job that was throttled, while no other was.
    pub(super) fn alone(&self) -> Option<&JobId> {
        self.alone.as_ref()
    }

    /// Until when all wait at `now` because the upstream asked for that.
    pub(super) fn pause(&self, now: Monotonic) -> Option<Monotonic> {
        let closure = self.closure.as_ref().filter(|_| self.alone.is_none())?;
        (now < closure.until).then_some(closure.until)
    }

    pub(super) fn throttled(&mut self, poll: &Throttled<'_>, now: Monotonic, random: f64) {
        let later = is_later(poll.ticket, self.closure.as_ref());
        if self.closure.is_none() {
            self.alone = Some(poll.job.clone());
            let until = now.plus(ALONE);
            self.close(poll, until, until, later);
            return;
        }
        // A poll that was in flight already, or one of the same job, confirms nothing.
        if let Some(alone) = &self.alone
            && (!later || alone == poll.job)
        {
            return;
        }
        self.alone = None;
        if later {
            self.pauses = self.pauses.saturating_add(1);
        }
        let pause = match poll.retry_after {
            Some(wanted) => lengthened(wanted.max(THROTTLED.initial), random).min(poll.most),
            None => grown(THROTTLED, self.pauses, random),
        };
        let until = now.plus(pause);
        let earliest = poll.retry_after.map_or(now, |_| until);
        self.close(poll, until, earliest, later);
    }

    /// A poll was not throttled.
    pub(super) fn answered(&mut self, ticket: Ticket, now: Monotonic) {
        if !is_later(ticket, self.closure.as_ref()) {
            return;
        }
        self.pauses = 0;
        if self
            .closure
            .take_if(|closure| closure.earliest <= now)
            .is_some()
        {
            self.alone = None;
        }
    }

    /// All wait until then, because the upstream asked for it earlier: before this process or this configuration began.
    pub(super) fn pause_until(&mut self, until: Monotonic, last: Ticket) {
        self.alone = None;
        let detail = "it asked for a pause earlier";
        self.closure = Some(Closure::new(GateReasonKind::Throttled, detail, until, last));
    }

    /// No wait is longer than until then.
    pub(super) fn end_by(&mut self, latest: Monotonic) {
        if let Some(closure) = &mut self.closure {
            closure.until = closure.until.min(latest);
            closure.earliest = closure.earliest.min(latest);
        }
    }

    /// Ends every wait.
    pub(super) fn resume(&mut self) {
        *self = Self::default();
    }

    /// The latest end wins. Answers of one wave of polls are one closure, however many they are.
    fn close(&mut self, poll: &Throttled<'_>, until: Monotonic, earliest: Monotonic, later: bool) {
        let kind = GateReasonKind::Throttled;
        let new = Closure {
            earliest,
            ..Closure::new(kind, poll.detail, until, poll.last)
        };
        extend(&mut self.closure, new, later);
    }
}
