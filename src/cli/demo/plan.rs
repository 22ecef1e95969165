//! Who appears in the demo, when, and how each is to end.

use std::time::Duration;

use super::seed;
use crate::core::job::FailureKind;
use crate::simulator::{Fault, FaultRule, NewJob, Reply, RetryAfter, Scenario, Script};

/// The webhook that is told everything.
pub(super) const AUDIT: &str = "audit";

/// The webhook that is told what the default tells.
pub(super) const BILLING: &str = "billing";

/// When every token given out so far expires before its time.
pub(super) const TOKENS_EXPIRE: Duration = Duration::from_millis(9_000);

/// One job of the demo. Times are those of an unhurried demo.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// The id of the row, and of the simulator's job unless `url` names another.
    pub(super) id: &'static str,
    /// What is shown with it, for people.
    pub(super) about: &'static str,
    /// When its row is inserted.
    pub(super) at: Duration,
    /// What the simulator tells of it.
    pub(super) tale: Tale,
    /// How its user meets challenges.
    pub(super) user: User,
    /// How the tracker itself is to end it; `None`: as the simulator ends it.
    pub(super) end: Option<FailureKind>,
    /// `jobs.url`.
    pub(super) url: Option<&'static str>,
    /// `jobs.metadata`.
    pub(super) metadata: Option<&'static str>,
    /// `jobs.webhook`.
    pub(super) webhook: Option<&'static str>,
    /// `jobs.priority`.
    pub(super) priority: i64,
    /// `jobs.deadline_at`, from the insertion on.
    pub(super) deadline: Option<Duration>,
    /// How long after its insertion `cancel_requested` is set.
    pub(super) cancel: Option<Duration>,
}

/// Where a role's story comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tale {
    /// One of the simulator's, over within so many milliseconds.
    Scenario(Scenario, u64),
    /// One of the simulator's at its own speed, so that its challenges wait for their user for a minute.
    Asking(Scenario),
    /// One of the simulator's that fails at this step with this code.
    Failing(Scenario, u64, &'static str, &'static str),
    /// A document of the API's own page.
    Document(fn() -> Script),
    /// The simulator knows nothing of it.
    None,
}

/// How a user meets challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// Does nothing.
    Silent,
    /// Answers every challenge rightly.
    Knows,
    /// Mistypes the first answer.
    Mistypes,
    /// Is always wrong.
    Guesses,
}

impl Role {
    fn new(at_ms: u64, id: &'static str, about: &'static str, tale: Tale) -> Self {
        Self {
            id,
            about,
            at: Duration::from_millis(at_ms),
            tale,
            user: User::Silent,
            end: None,
            url: None,
            metadata: None,
            webhook: None,
            priority: 0,
            deadline: None,
            cancel: None,
        }
    }

    fn user(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    fn ends(mut self, kind: FailureKind) -> Self {
        self.end = Some(kind);
        self
    }

    /// The id under which the simulator knows it.
    pub(super) fn remote_id(&self) -> &'static str {
        self.url
            .and_then(|url| url.strip_prefix("/jobs/"))
            .unwrap_or(self.id)
    }

    /// The simulator's job, `pace` times faster; `None` when it knows none.
    pub(super) fn remote_job(&self, pace: f64) -> Option<NewJob> {
        let within = |ms: u64| at_pace(Duration::from_millis(ms), pace).as_millis();
        let within = |ms| u64::try_from(within(ms)).unwrap_or(u64::MAX);
        let new = match self.tale {
            Tale::None => return None,
            Tale::Document(script) => NewJob::scripted(script()),
            Tale::Scenario(scenario, ms) => NewJob::of(scenario).within_ms(within(ms)),
            Tale::Asking(scenario) => NewJob::of(scenario),
            Tale::Failing(scenario, ms, step, code) => NewJob {
                step: Some(step.to_owned()),
                code: Some(code.to_owned()),
                ..NewJob::of(scenario).within_ms(within(ms))
            },
        };
        Some(new.with_id(self.remote_id()))
    }
}

/// A stretch of the unhurried demo at another pace.
pub(super) fn at_pace(time: Duration, pace: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() / pace).unwrap_or(Duration::MAX)
}

/// Everybody, in order of appearance.
pub(super) fn roles() -> Vec<Role> {
    let mut all = tracker_decides();
    all.extend(stories());
    all.extend(challenges());
    all.sort_by_key(|role| role.at);
    all
}

/// Jobs that the tracker itself ends, and the two documents.
fn tracker_decides() -> Vec<Role> {
    use FailureKind::{Cancelled, Expired, NotFound, Rejected};
    let endless = Tale::Scenario(Scenario::NeverEnds, 4_000);
    vec![
        Role {
            metadata: Some(r#"{"customer":"c_9"}"#),
            priority: 5,
            ..Role::new(0, "61723", "seed page, MFA", Tale::Document(seed::second))
        }
        .user(User::Knows),
        Role {
            url: Some("/jobs/61723-page"),
            metadata: Some(r#"{"customer":"c_9"}"#),
            priority: 5,
            ..Role::new(
                0,
                "61723-page",
                "seed page, first",
                Tale::Document(seed::first),
            )
        },
        Role {
            deadline: Some(Duration::from_secs(11)),
            ..Role::new(1_200, "expired", "past its deadline", endless)
        }
        .ends(Expired),
        Role {
            cancel: Some(Duration::from_secs(9)),
            ..Role::new(2_600, "never-ends", "cancelled mid-way", endless)
        }
        .ends(Cancelled),
        Role::new(3_000, "unknown", "the API knows none", Tale::None).ends(NotFound),
        Role {
            url: Some("https://elsewhere.example/jobs/1"),
            ..Role::new(3_600, "foreign-url", "at another origin", Tale::None)
        }
        .ends(Rejected),
    ]
}

fn stories() -> Vec<Role> {
    let role = |at, scenario: Scenario, ms, about| {
        Role::new(at, scenario.name(), about, Tale::Scenario(scenario, ms))
    };
    let failing = |at, scenario: Scenario, ms, about, step, code| {
        let tale = Tale::Failing(scenario, ms, step, code);
        Role::new(at, scenario.name(), about, tale)
    };
    vec![
        Role {
            metadata: Some(r#"{"customer":"c_12","plan":{"seats":3,"price":19.90}}"#),
            ..role(400, Scenario::Success, 6_000, "three steps")
        },
        role(700, Scenario::Slow, 19_000, "takes its time"),
        role(900, Scenario::Instant, 100, "done at first sight"),
        failing(
            1_800,
            Scenario::Failed,
            6_000,
            "wrong password",
            "verify-credentials",
            "invalid-credentials",
        ),
        role(4_200, Scenario::QueuedSuccess, 15_000, "queued, then done"),
        role(4_800, Scenario::QueuedFailed, 13_000, "queued in vain"),
        role(8_600, Scenario::Statement, 6_000, "a statement"),
        role(9_200, Scenario::StatementFailed, 5_000, "an unusable one"),
        role(9_800, Scenario::Report, 4_000, "a report"),
        role(
            10_400,
            Scenario::ReportFailed,
            4_000,
            "fails without a word",
        ),
        Role {
            webhook: Some(BILLING),
            ..role(11_000, Scenario::Payment, 5_000, "only billing is told")
        },
        role(11_600, Scenario::PaymentFailed, 5_000, "a payment bounces"),
        role(12_200, Scenario::UnknownStatus, 6_000, "a word never seen"),
        role(13_400, Scenario::StepVanishes, 6_000, "a step goes missing"),
        role(14_000, Scenario::GoesBack, 7_000, "a step falls back"),
    ]
}

fn challenges() -> Vec<Role> {
    use User::{Guesses, Knows, Mistypes};
    let role = |at, scenario: Scenario, about, user| {
        Role::new(at, scenario.name(), about, Tale::Asking(scenario)).user(user)
    };
    let unasked = |at, scenario: Scenario, ms, about| {
        Role::new(at, scenario.name(), about, Tale::Scenario(scenario, ms))
    };
    vec![
        role(1_500, Scenario::MfaToken, "mistyped once", Mistypes),
        role(2_200, Scenario::MfaQuestions, "two questions", Knows),
        role(5_400, Scenario::MfaApproval, "an app's approval", Knows),
        role(6_000, Scenario::MfaStrict, "one wrong guess", Guesses),
        unasked(6_600, Scenario::MfaExpired, 9_000, "nobody answers"),
        role(7_200, Scenario::MfaKept, "five steps", Knows),
        unasked(7_600, Scenario::MfaSkipped, 6_000, "no code needed"),
        unasked(8_000, Scenario::MfaMisspelt, 6_000, "a title misspelt"),
        role(12_800, Scenario::StepAppears, "a step comes late", Knows),
    ]
}

/// What goes wrong at the API, each time at a job's next poll or polls, and every job survives it.
pub(super) fn faults(pace: f64) -> Vec<FaultRule> {
    let status = |status, retry_after| Fault::Status {
        status,
        retry_after,
        body: None,
    };
    let once = |job: &str, fault| FaultRule::new(fault).on_job(job).times(1);
    let mut faults = vec![
        once("success", status(500, None)).times(2),
        once("61723-page", Fault::Html),
        once("slow", Fault::Truncated),
        once("statement", Fault::Reset { after_bytes: 20 }),
        once("report", Fault::Empty),
    ];
    // After a 429 all jobs rest for a second at least, however fast they go.
    if pace <= 1.0 {
        let throttled = status(429, Some(RetryAfter::Seconds(1)));
        faults.push(once("mfa-questions", throttled));
    }
    faults
}

/// What goes wrong at the webhooks.
pub(super) fn refusals(pace: f64) -> Vec<Reply> {
    let refusal = |hook: &str, job: &str, event: &str, times, status| Reply {
        hook: Some(hook.to_owned()),
        job: Some(job.to_owned()),
        event: Some(event.to_owned()),
        times: Some(times),
        status,
        ..Reply::default()
    };
    vec![
        refusal(AUDIT, "instant", "job.completed", 2, 500),
        refusal(AUDIT, "61723", "job.action_required", 1, 500),
        refusal(BILLING, "failed", "job.failed", 1, 502),
        Reply {
            header: Some(("retry-after", u8::from(pace <= 1.0).to_string())),
            ..refusal(BILLING, "report-failed", "job.failed", 1, 503)
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_story_of_the_simulator_is_told_and_ends_in_half_a_minute() {
        let told: HashSet<Scenario> = roles()
            .iter()
            .filter_map(|role| match role.tale {
                Tale::Scenario(scenario, _) | Tale::Failing(scenario, ..) => Some(scenario),
                Tale::Asking(scenario) => Some(scenario),
                Tale::Document(_) | Tale::None => None,
            })
            .collect();
        for scenario in Scenario::ALL {
            // The documents themselves are told instead.
            let documents = [Scenario::SeedExample, Scenario::SeedMfaExample];
            assert!(
                told.contains(scenario) || documents.contains(scenario),
                "{scenario}"
            );
        }
        for role in roles() {
            if let Tale::Scenario(_, ms) | Tale::Failing(_, ms, ..) = role.tale {
                assert!(role.at + Duration::from_millis(ms) < Duration::from_secs(25));
            }
        }
    }

    #[test]
    fn every_kind_of_failure_is_the_end_of_some_job() {
        use FailureKind::{Cancelled, Expired, NotFound, Rejected};
        let ends: Vec<FailureKind> = roles().iter().filter_map(|role| role.end).collect();
        for kind in [NotFound, Rejected, Expired, Cancelled] {
            assert!(ends.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn ids_are_told_apart() {
        let ids: HashSet<&str> = roles().iter().map(|role| role.id).collect();
        assert_eq!(ids.len(), roles().len());
    }
}
