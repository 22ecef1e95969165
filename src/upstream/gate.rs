//! When the upstream as a whole is left alone, and what is known of our credentials.

mod machine;

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub(super) use machine::Signal;
use machine::{Episodes, Machine, Moment};

use crate::clock::{Clock, Jitter};
use crate::core::job::JobId;
use crate::core::recurring::{Recurring, Report};
use crate::core::time::{UnixMillis, millis};

/// Whether polls may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// They may.
    Open,
    /// Not before `until`; the gate then opens by itself, and [`Gate::changed`] tells when it moves earlier or later.
    Closed {
        /// When it opens.
        until: Instant,
        /// Why it is closed.
        reason: GateReason,
    },
}

/// Why no polls are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateReason {
    /// Which rule closed the gate.
    pub kind: GateReasonKind,
    /// One line for people: escaped, cut, without secrets.
    pub detail: String,
}

/// The rules that close the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateReasonKind {
    /// 429, or 503 with `Retry-After`, on a job's URL. Ends after a second, for one job may have been meant; if another
    /// one is answered like that then, with the pause that was asked for, or after our own of 1 s doubling to 5 min. A poll
    /// that was started later and is answered otherwise ends what was not asked for.
    Throttled,
    /// The token endpoint or a job's URL refused our credentials. Ends after 5 s doubling to 5 min.
    CredentialsRefused,
    /// No token can be had just now. Ends when the next one may be asked for.
    TokenUnavailable,
}

impl GateReasonKind {
    /// The word shown and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::CredentialsRefused => "credentials_refused",
            Self::TokenUnavailable => "token_unavailable",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Throttled => "the upstream throttles us",
            Self::CredentialsRefused => "the upstream refuses our credentials",
            Self::TokenUnavailable => "no token can be had",
        }
    }
}

/// What is known of our credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing yet. Also when the token endpoint grants a token after it had refused one.
    Unknown,
    /// The latest word: a poll was answered.
    Accepted,
    /// The latest word: refused by the token endpoint, by 401 with a fresh token too while no other job was read with
    /// either, or by 403 on a job while none was read with the same token. Left by a poll that was started later and was
    /// answered, or by one that read another job with the same token.
    Refused {
        /// Since when.
        since: UnixMillis,
        /// One line for people: escaped, cut, without secrets.
        detail: String,
    },
}

/// The place of a poll in the order in which polls were started. An answer to a poll that was in flight when the gate
/// closed says nothing about the time after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The gate, shared by everyone who polls.
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    jitter: Jitter,
    machine: Mutex<Machine>,
    told: Mutex<Told>,
    changes: watch::Sender<()>,
}

impl Gate {
    pub(super) fn new(clock: Clock, jitter: Jitter, most: Duration) -> Self {
        Self {
            clock,
            jitter,
            machine: Mutex::new(Machine::new(most)),
            told: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Whether a poll may be started at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> GateState {
        self.machine().state(now)
    }

    /// Whether the gate was closed, is open again at `now`, and no poll has been answered since. Whoever starts polls does
    /// best to have no more than one in flight then, so that an upstream that still refuses is asked once, not by all.
    #[must_use]
    pub fn on_trial(&self, now: Instant) -> bool {
        self.machine().on_trial(now)
    }

    /// The job that was throttled and has not shown yet whether others are: the one on trial had better be another.
    #[must_use]
    pub fn suspect(&self) -> Option<JobId> {
        self.machine().throttling().alone().cloned()
    }

    /// Until when all polls wait because the upstream asked for it.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        self.machine().throttling().pause(now)
    }

    /// Whether the upstream throttles us, as far as the latest answer says.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.machine().throttling().closure().is_some()
    }

    /// What is known of our credentials.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.machine().credentials().clone()
    }

    /// One sentence for everything that is wrong with the upstream just now; none when all is well.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        self.machine().degraded(Instant::now())
    }

    /// Resolves when the gate was closed or opened, its end moved, or its trial ended, after this call (not: after the first poll of the
    /// future). So call it, then look at [`Gate::state`], then await it.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.changes.subscribe();
        async move {
            if changes.changed().await.is_err() {
                // The gate is gone, and so is whoever could change it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the upstream gives no usable answers: none or 5xx to three polls in a row, or to three different jobs what is
    /// not the job, while no job was read.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.machine().is_down()
    }

    /// To be called when a poll is started.
    pub(super) fn begin(&self) -> Ticket {
        self.machine().begin()
    }

    /// To be called when the poll of `job` with `ticket` is over.
    pub(super) fn note(&self, ticket: Ticket, job: &JobId, signal: &Signal) {
        self.change(|machine, moment| machine.note(ticket, job, signal, moment));
    }

    /// Closes it for so long, as the upstream asked for earlier.
    pub(super) fn rest(&self, left: Duration) {
        self.change(|machine, moment| machine.rest(moment.now + left));
    }

    /// Opens it, unless our credentials are refused.
    pub(super) fn resume(&self) {
        self.change(|machine, _| machine.resume());
    }

    fn change(&self, change: impl FnOnce(&mut Machine, &Moment)) {
        let moment = Moment {
            now: Instant::now(),
            time_of_day: self.clock.now(),
            random: self.jitter.fraction(),
        };
        // Held to the end, so that the log is told in the order in which it happened.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (episodes, changed) = {
            let mut machine = self.machine();
            let state =
                |machine: &Machine| (machine.state(moment.now), machine.on_trial(moment.now));
            let before = state(&machine);
            change(&mut machine, &moment);
            (machine.episodes(), before != state(&machine))
        };
        if changed {
            self.changes.send_replace(());
        }
        told.tell(&episodes, &moment);
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log was told, one by one.
#[derive(Debug, Default)]
struct Told {
    throttled: Recurring<GateReasonKind>,
    unauthorized: Recurring<GateReasonKind>,
    forbidden: Recurring<()>,
    down: Recurring<()>,
}

impl Told {
    /// Tells of what began and what ended; nothing when all is as it was.
    fn tell(&mut self, episodes: &Episodes, moment: &Moment) {
        let time = moment.time_of_day;
        for (told, closure) in [
            (&mut self.throttled, &episodes.throttled),
            (&mut self.unauthorized, &episodes.unauthorized),
        ] {
            let kind = closure.as_ref().map(|closure| closure.reason.kind);
            match (told.note(kind, time), closure) {
                (Some(Report::Begun(kind)), Some(closure)) => tracing::warn!(
                    reason = kind.as_str(),
                    error = closure.reason.detail,
                    retry_in_ms = millis(closure.until.saturating_duration_since(moment.now)),
                    "{}: no polls until then",
                    kind.sentence()
                ),
                (Some(Report::Ended(kind)), _) => {
                    tracing::info!(reason = kind.as_str(), "polls are answered again");
                }
                _ => {}
            }
        }
        match self
            .forbidden
            .note(episodes.forbidden.as_ref().map(drop), time)
        {
            Some(Report::Begun(())) => tracing::warn!(
                error = episodes.forbidden,
                "the upstream forbids jobs to our credentials"
            ),
            Some(Report::Ended(())) => tracing::info!("our credentials are no longer forbidden"),
            None => {}
        }
        match self.down.note(episodes.down.as_ref().map(drop), time) {
            Some(Report::Begun(())) => tracing::warn!(
                error = episodes.down,
                "the upstream gives no usable answers"
            ),
            Some(Report::Ended(())) => tracing::info!("the upstream gives usable answers again"),
            None => {}
        }
    }
}

/// A duration for people, in whole seconds, rounded up.
fn for_people(duration: Duration) -> humantime::FormattedDuration {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(seconds))
}
