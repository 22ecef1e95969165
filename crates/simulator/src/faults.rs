//! Faults: which, where, and how often.

use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::log::LoggedRequest;
use jobtrackd_core::time::UnixMillis;

/// The most rules at the same time.
pub const MAX_RULES: usize = 1000;

/// The longest body of a fault, in bytes: 64 MiB.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// The longest text of a header, in bytes.
const MAX_HEADER: usize = 4096;

/// A fault and where it strikes. A request must match all conditions; of several rules that match the oldest one strikes.
/// As JSON: `{"path":"/jobs","times":2,"fault":{"status":{"status":503}}}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Prefix of the path; any path when absent.
    pub path: Option<String>,
    /// The path names this job (`/jobs/ID…`, or as the dialect has it).
    pub job: Option<String>,
    /// `GET`, `POST`…
    pub method: Option<String>,
    /// How often it strikes before the rule is removed; for ever when absent.
    pub times: Option<u64>,
    /// 0 to 1, drawn from the seed; 1 when absent.
    #[serde(default = "always")]
    pub probability: f64,
    /// The fault.
    pub fault: Fault,
}

/// A fault. Times are real milliseconds: the simulator's speed does not change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// This status, with the API's error or the given body.
    Status {
        /// 100 to 599 as HTTP allows, answered instead of the genuine one.
        status: u16,
        /// Adds `Retry-After`.
        retry_after: Option<RetryAfter>,
        /// Instead of the API's error.
        body: Option<String>,
    },
    /// The genuine answer, this much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// No answer, until the client leaves or the simulator stops.
    Hang,
    /// The genuine answer, head and body, a few bytes at a time.
    Drip {
        /// How many at a time, at least 1.
        bytes: usize,
        /// Milliseconds between two writes.
        every_ms: u64,
    },
    /// The genuine answer, with a TCP reset in its body.
    Reset {
        /// How many bytes of the body are sent before.
        after_bytes: usize,
    },
    /// Status 502 with a page of HTML.
    Html,
    /// The first half of the genuine body, with a length that agrees with it.
    Truncated,
    /// The genuine body with white space after it.
    Padded {
        /// Bytes in all, at most [`MAX_BODY`].
        bytes: usize,
    },
    /// A redirect.
    Redirect {
        /// The `Location`.
        to: String,
        /// 302 when absent.
        status: Option<u16>,
    },
    /// The genuine body with another job's `id`.
    WrongId {
        /// That id.
        id: String,
    },
    /// The genuine status without a body.
    Empty,
    /// Not found, for this long after the job was created. Strikes only jobs that exist.
    NotFoundFor {
        /// Milliseconds.
        ms: u64,
    },
    /// More requests per second than this are answered 429.
    RateLimit {
        /// Let through in each second.
        per_second: u32,
        /// Adds `Retry-After`.
        retry_after: Option<RetryAfter>,
    },
}

/// A `Retry-After` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// An HTTP date, this many seconds from now.
    DateInSeconds(u64),
    /// This text.
    Text(String),
}

/// A rule that remains.
#[derive(Debug, Clone, Serialize)]
pub struct ActiveFault {
    /// For removing it.
    pub id: u64,
    /// How often it struck.
    pub struck: u64,
    /// The rule.
    pub rule: FaultRule,
    #[serde(skip)]
    window: Option<(UnixMillis, u32)>,
}

/// Why a rule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not 0 to 1.
    #[error("probability is a number from 0 to 1")]
    Probability,
    /// Not a status of an answer.
    #[error("an answer's status is 200 to 599, a redirect's 300 to 399")]
    Status,
    /// A header's text that no server would send.
    #[error("a header's text is one line of printable ASCII of at most {MAX_HEADER} bytes")]
    Header,
    /// Too long a body.
    #[error("a body has at most {MAX_BODY} bytes")]
    Body,
    /// There are [`MAX_RULES`] already.
    #[error("there are {MAX_RULES} fault rules already")]
    TooMany,
}

#[derive(Debug)]
pub(super) struct Faults {
    active: Vec<ActiveFault>,
    last_id: u64,
    rng: Rng,
}

fn always() -> f64 {
    1.0
}

impl FaultRule {
    /// Everywhere, always.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            path: None,
            job: None,
            method: None,
            times: None,
            probability: 1.0,
            fault,
        }
    }

    /// Only paths with this prefix.
    #[must_use]
    pub fn on_path(mut self, prefix: impl Into<String>) -> Self {
        self.path = Some(prefix.into());
        self
    }

    /// Only where the path names this job.
    #[must_use]
    pub fn on_job(mut self, id: impl Into<String>) -> Self {
        self.job = Some(id.into());
        self
    }

    /// Only this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn check(&self) -> Result<(), FaultError> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(FaultError::Probability);
        }
        if self.fault.header().is_some_and(|text| !is_header(text)) {
            return Err(FaultError::Header);
        }
        match &self.fault {
            Fault::Status { status, .. } if !(200..600).contains(status) => Err(FaultError::Status),
            Fault::Redirect {
                status: Some(status),
                ..
            } if !(300..400).contains(status) => Err(FaultError::Status),
            Fault::Padded { bytes } if *bytes > MAX_BODY => Err(FaultError::Body),
            _ => Ok(()),
        }
    }

    fn fits(&self, request: &LoggedRequest) -> bool {
        let path = |prefix: &String| request.path.starts_with(prefix.as_str());
        let method = |method: &String| method.eq_ignore_ascii_case(&request.method);
        self.path.as_ref().is_none_or(path)
            && self.method.as_ref().is_none_or(method)
            && (self.job.is_none() || self.job == request.job)
    }
}

impl Fault {
    /// Its name in the request log and in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The text that it sends in a header.
    fn header(&self) -> Option<&str> {
        match self {
            Self::Redirect { to, .. } => Some(to),
            Self::Status {
                retry_after: Some(RetryAfter::Text(text)),
                ..
            }
            | Self::RateLimit {
                retry_after: Some(RetryAfter::Text(text)),
                ..
            } => Some(text),
            _ => None,
        }
    }
}

fn is_header(text: &str) -> bool {
    text.len() <= MAX_HEADER && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

impl RetryAfter {
    pub(super) fn header(&self, now: UnixMillis) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Text(text) => text.clone(),
            Self::DateInSeconds(seconds) => {
                let at = now.plus(Duration::from_secs(*seconds)).0;
                let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
                at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
            }
        }
    }
}

impl Faults {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            active: Vec::new(),
            last_id: 0,
            rng,
        }
    }

    pub(super) fn add(&mut self, rule: FaultRule) -> Result<u64, FaultError> {
        rule.check()?;
        if self.active.len() >= MAX_RULES {
            return Err(FaultError::TooMany);
        }
        self.last_id += 1;
        self.active.push(ActiveFault {
            id: self.last_id,
            struck: 0,
            rule,
            window: None,
        });
        Ok(self.last_id)
    }

    pub(super) fn active(&self) -> &[ActiveFault] {
        &self.active
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        let mut removed = self.active.extract_if(.., |active| active.id == id);
        removed.next().is_some()
    }

    /// The fault that strikes this request, which names a job made at `created`, if any.
    pub(super) fn strike(
        &mut self,
        request: &LoggedRequest,
        created: Option<UnixMillis>,
    ) -> Option<Fault> {
        let rng = &mut self.rng;
        let index = self.active.iter_mut().position(|active| {
            active.rule.fits(request)
                && active.is_due(request.at, created)
                && (active.rule.probability >= 1.0 || rng.f64() < active.rule.probability)
        })?;
        let active = self.active.get_mut(index)?;
        active.struck += 1;
        let fault = active.rule.fault.clone();
        if active
            .rule
            .times
            .is_some_and(|times| active.struck >= times)
        {
            self.active.remove(index);
        }
        Some(fault)
    }
}

impl ActiveFault {
    fn is_due(&mut self, now: UnixMillis, created: Option<UnixMillis>) -> bool {
        match &self.rule.fault {
            Fault::NotFoundFor { ms } => {
                let until = created.map(|created| created.plus(Duration::from_millis(*ms)));
                until.is_some_and(|until| now < until)
            }
            Fault::RateLimit { per_second, .. } => {
                let (start, count) = self
                    .window
                    .filter(|(start, _)| now.since(*start) < Duration::from_secs(1))
                    .unwrap_or((now, 0));
                self.window = Some((start, count.saturating_add(1)));
                count >= *per_second
            }
            _ => self.rule.times != Some(0),
        }
    }
}
