//! The values of labels: fixed words of the program, never text from outside.

use strum::{EnumIter, IntoStaticStr};

use crate::core::delivery::{AfterAttempt, AttemptResult};

/// A problem that `/readyz` shows, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Problem {
    /// The disk is full, or a quota or file size limit of this process is reached.
    DiskFull,
    /// Too few file descriptors, threads, or too little memory.
    OutOfResources,
    /// Another program holds the database's lock.
    DatabaseLocked,
    /// The upstream refuses our credentials.
    CredentialsRefused,
    /// A part of the daemon does not answer.
    Stalled,
    /// The upstream throttles us.
    Throttled,
    /// No token is available.
    TokenUnavailable,
    /// The upstream gives no usable answers.
    NoUsableAnswers,
}

impl Problem {
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

pub(super) const ANSWERED: &str = "answered";

/// Answered, but not with the job, or with one that cannot be recorded.
pub(super) const UNUSABLE: &str = "unusable";

pub(super) const POLLS: [&str; 15] = [
    ANSWERED,
    UNUSABLE,
    "gone",
    "rejected",
    "throttled",
    "credentials_refused",
    "forbidden",
    "not_sent",
    "connect",
    "timeout",
    "broken",
    "redirect",
    "status",
    "foreign",
    "too_large",
];

pub(super) const SUCCESS: &str = "success";

pub(super) const ENDS: [&str; 6] = [
    SUCCESS,
    "step",
    "not_found",
    "rejected",
    "expired",
    "cancelled",
];

pub(super) const TOKENS: [&str; 5] = ["granted", "refused", "too_many", "throttled", "unavailable"];

pub(super) const PARTS: [&str; 5] = ["intake", "poller", "writer", "dispatcher", "pruner"];

pub(super) const RELOADS: [&str; 2] = ["taken", "refused"];

/// The `error` of a delivered attempt.
pub(super) const NO_ERROR: &str = "none";

/// The errors after which an event is sent again or given up.
const ATTEMPT_ERRORS: [&str; 9] = [
    "status",
    "too_slow",
    "redirect",
    "dns",
    "connect",
    "tls",
    "timeout",
    "http",
    "blocked_address",
];

/// Each pair of an outcome of an attempt and its error.
pub(super) fn attempts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let failed = ["retry", "exhausted", "expired", "aborted", "disabled"]
        .into_iter()
        .flat_map(|outcome| ATTEMPT_ERRORS.map(|error| (outcome, error)));
    let others = [
        ("delivered", NO_ERROR),
        ("paused", "throttled"),
        ("retry", "throttled"),
        ("exhausted", "throttled"),
        ("expired", "throttled"),
        ("aborted", "throttled"),
        ("disabled", "throttled"),
        ("disabled", "gone"),
    ];
    others.into_iter().chain(failed)
}

pub(super) fn of_attempt(result: &AttemptResult, after: AfterAttempt) -> &'static str {
    match after {
        AfterAttempt::Delivered => "delivered",
        AfterAttempt::Again(_) if matches!(result, AttemptResult::Throttled { .. }) => "paused",
        AfterAttempt::Retry(_) | AfterAttempt::Again(_) => "retry",
        AfterAttempt::Exhausted => "exhausted",
        AfterAttempt::Expired => "expired",
        AfterAttempt::Aborted => "aborted",
        AfterAttempt::Disabled => "disabled",
    }
}

/// The word for a part of the daemon whose name is `the writer`, `a dispatcher` and so on.
pub(super) fn part(name: &str) -> &'static str {
    let word = name.rsplit(' ').next().unwrap_or(name);
    PARTS
        .into_iter()
        .find(|part| *part == word)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::delivery::{
        AttemptErrorClass, AttemptResult, Directive, RetryContext, after_attempt,
    };
    use crate::core::job::FailureKind;
    use crate::core::poll::{PollOutcome, Trouble, TroubleClass};
    use crate::core::time::UnixMillis;

    fn text() -> String {
        "text".to_owned()
    }

    #[test]
    fn every_outcome_of_a_poll_starts_at_zero() {
        let classes = [
            TroubleClass::Connect,
            TroubleClass::Timeout,
            TroubleClass::Broken,
            TroubleClass::Redirect,
            TroubleClass::Status,
            TroubleClass::Foreign,
            TroubleClass::Unusable,
            TroubleClass::TooLarge,
        ];
        let trouble = |class| {
            PollOutcome::Trouble(Trouble {
                class,
                detail: text(),
            })
        };
        let mut outcomes: Vec<_> = classes.into_iter().map(trouble).collect();
        outcomes.extend([
            PollOutcome::Unchanged,
            PollOutcome::Gone { status: 404 },
            PollOutcome::Rejected { detail: text() },
            PollOutcome::Throttled { status: 429 },
            PollOutcome::CredentialsRefused { detail: text() },
            PollOutcome::Forbidden {
                status: 403,
                detail: text(),
            },
            PollOutcome::NotSent { detail: text() },
        ]);
        for outcome in &outcomes {
            assert!(POLLS.contains(&outcome.as_str()), "{outcome:?}");
        }
        assert_eq!(outcomes.len(), POLLS.len());
    }

    #[test]
    fn every_end_of_a_job_starts_at_zero() {
        for kind in [
            FailureKind::Step,
            FailureKind::NotFound,
            FailureKind::Rejected,
            FailureKind::Expired,
            FailureKind::Cancelled,
        ] {
            assert!(ENDS.contains(&kind.as_str()), "{kind:?}");
        }
    }

    #[test]
    fn every_attempt_and_what_follows_from_it_starts_at_zero() {
        let classes = [
            AttemptErrorClass::Dns,
            AttemptErrorClass::Connect,
            AttemptErrorClass::Tls,
            AttemptErrorClass::Timeout,
            AttemptErrorClass::Http,
            AttemptErrorClass::BlockedAddress,
        ];
        let unreachable = |class| AttemptResult::Unreachable {
            class,
            detail: text(),
        };
        let mut results: Vec<_> = classes.into_iter().map(unreachable).collect();
        results.extend([
            AttemptResult::Delivered { status: 200 },
            AttemptResult::Throttled {
                status: 429,
                retry_after: Duration::ZERO,
            },
            AttemptResult::Gone,
        ]);
        let refused = |(status, too_slow)| AttemptResult::Refused {
            status,
            detail: text(),
            too_slow,
        };
        results.extend([(302, false), (500, false), (500, true)].map(refused));
        let directives = [
            None,
            Some(Directive::Disable),
            Some(Directive::AbortMessage),
        ];
        for (result, directive) in results
            .iter()
            .flat_map(|result| directives.map(|directive| (result, directive)))
        {
            for (schedule, expires_at, due) in [
                (&[][..], None, 0),
                (&[Duration::ZERO], None, 0),
                (&[Duration::from_secs(60)], None, 9),
                (&[], Some(UnixMillis(1)), 0),
            ] {
                let context = RetryContext {
                    used: 0,
                    schedule,
                    expires_at,
                    due: UnixMillis(due),
                    paused: Duration::ZERO,
                    empty_pauses: 0,
                };
                let after = after_attempt(result, directive, &context, UnixMillis(0), 0.0).after;
                let word = of_attempt(result, after);
                let pair = (word, result.class().unwrap_or(NO_ERROR));
                assert!(attempts().any(|each| each == pair), "{pair:?}");
            }
        }
    }

    #[test]
    fn parts_are_counted_by_their_last_word() {
        assert_eq!(part("the writer"), "writer");
        assert_eq!(part("a dispatcher"), "dispatcher");
        assert_eq!(part("intake"), "intake");
        assert_eq!(part("the kitchen"), "other");
    }
}
