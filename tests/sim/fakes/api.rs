//! The API. It keeps what it has shown of each job, and when.

use super::render::{self, Answer, Page};
use super::truth::{Step, Verdict};
use crate::chance::{Chance, Digest};
use crate::plan::{ApiFault, Fault, JobFault, Page as ProxyPage, Plan, RetryAfter};
use crate::time::{HOUR, MS, SECOND, Time, true_wall};

/// How long a token is good.
const TOKEN_LIFE: Time = HOUR;

/// What the API was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    /// The number of the job in the plan; `None`: nobody knows it.
    pub(crate) job: Option<usize>,
    /// The number of the token.
    pub(crate) token: Option<u64>,
    /// The entity tag that it asks with.
    pub(crate) etag: Option<String>,
    pub(crate) started: Time,
}

/// What was shown of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It, as it was changed last at this time.
    Job {
        steps: Vec<Step>,
        verdict: Verdict,
        changed: Time,
    },
    /// 404 or 410 in the API's own words.
    Gone,
    /// 400 in the API's own words.
    Rejected,
    /// 429, 503 with `Retry-After` …, which asks for so long in true time.
    Throttled(Option<Time>),
    /// The token was refused, or not the job's.
    Refused,
    /// Anything that says nothing of the job; with `Retry-After` or without.
    Nothing,
}

impl Shown {
    /// The steps, if it shows the job.
    pub(crate) fn steps(&self) -> &[Step] {
        match self {
            Self::Job { steps, .. } => steps,
            _ => &[],
        }
    }
}

/// One entry of the log of answers.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) job: usize,
    pub(crate) request: Request,
    /// When the API looked.
    pub(crate) at: Time,
    pub(crate) shown: Shown,
    /// When it reached the process that had asked, before it gave up.
    pub(crate) received: Option<Time>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An answer after so long, and the number of its entry in the log.
    Answer(Answer, Time, Option<usize>),
    /// No connection, after so long.
    NoConnection(Time),
    /// The connection breaks within the answer.
    Breaks(Time),
    /// Nothing ever comes.
    Silence,
}

/// The API and its log.
#[derive(Debug, Default)]
pub(crate) struct Api {
    pub(crate) served: Vec<Served>,
    /// When each token was granted; their numbers count from 1.
    pub(crate) tokens: Vec<Time>,
    requests: u64,
}

impl Api {
    /// How long a request takes to get here.
    pub(crate) fn latency(&self, chance: Chance) -> Time {
        chance.of("to the API", self.requests).below(40) * MS / 2 + 300
    }

    /// A request for a job has arrived.
    pub(crate) fn poll(
        &mut self,
        plan: &Plan,
        chance: Chance,
        request: Request,
        now: Time,
    ) -> Reply {
        self.requests += 1;
        let chance = chance.of("answer", self.requests);
        let mut after = chance.of("back", 0).below(60) * MS / 2 + 500;
        let mut shown = None;
        let faults = plan.faults.iter().filter_map(|fault| match fault {
            Fault::Api(window, fault) if window.holds(now) => Some((*window, *fault)),
            _ => None,
        });
        let mut stale = 0;
        let mut breaks = false;
        for (number, (window, fault)) in faults.enumerate() {
            let chance = chance.of("fault", number as u64);
            match fault {
                ApiFault::Refused => return Reply::NoConnection(after),
                ApiFault::Silent => return Reply::Silence,
                ApiFault::Lost(often) if chance.hits(often) => breaks = true,
                ApiFault::Slow(often, by) if chance.hits(often) => after += by,
                ApiFault::Broken(often) if chance.hits(often) => breaks = true,
                ApiFault::Stale(often, by) if chance.hits(often) => stale = by,
                ApiFault::Error(status) => shown = Some((Answer::html(status), Shown::Nothing)),
                ApiFault::Throttled(wait) => shown = Some(throttled(plan, chance, 429, wait, now)),
                ApiFault::Page(page) => shown = Some((proxy(plan, page), Shown::Nothing)),
                ApiFault::Revoked if self.is_older(request.token, window.from) => {
                    shown = Some((refused(plan, chance), Shown::Refused));
                }
                _ => {}
            }
        }
        if shown.is_none() && plan.settings.has_tokens && !self.is_good(request.token, now) {
            shown = Some((refused(plan, chance), Shown::Refused));
        }
        let (answer, shown) = shown.unwrap_or_else(|| job(plan, chance, &request, stale, now));
        let answer = tagged(plan, answer, request.etag.as_deref());
        let entry = request.job.map(|job| {
            self.served.push(Served {
                job,
                request,
                at: now,
                shown,
                received: None,
            });
            self.served.len() - 1
        });
        match breaks {
            true => Reply::Breaks(after),
            false => Reply::Answer(answer, after, entry),
        }
    }

    /// A request for a token has arrived; its number and how long it is good, or a status.
    pub(crate) fn grant(&mut self, plan: &Plan, now: Time) -> Result<(u64, Time), u16> {
        for fault in &plan.faults {
            let Fault::Api(window, fault) = fault else {
                continue;
            };
            match fault {
                ApiFault::NoToken(status) if window.holds(now) => return Err(*status),
                ApiFault::WrongKey if window.holds(now) => return Err(401),
                ApiFault::Refused | ApiFault::Silent if window.holds(now) => return Err(0),
                _ => {}
            }
        }
        self.tokens.push(now);
        Ok((self.tokens.len() as u64, TOKEN_LIFE))
    }

    fn granted(&self, token: Option<u64>) -> Option<Time> {
        let number = usize::try_from(token?).ok()?;
        self.tokens.get(number.checked_sub(1)?).copied()
    }

    fn is_older(&self, token: Option<u64>, than: Time) -> bool {
        self.granted(token).is_some_and(|at| at < than)
    }

    fn is_good(&self, token: Option<u64>, now: Time) -> bool {
        self.granted(token).is_some_and(|at| now < at + TOKEN_LIFE)
    }
}

/// The answer with its entity tag, or 304 in its place: as many servers do it, by the body alone, with any 2xx.
fn tagged(plan: &Plan, answer: Answer, asked: Option<&str>) -> Answer {
    let Some(begin) = plan.etags.filter(|_| (200..300).contains(&answer.status)) else {
        return answer;
    };
    let mut digest = Digest::default();
    digest.add(answer.body.as_bytes());
    let etag = format!("{begin}{:x}\"", digest.value());
    match asked == Some(&etag) {
        true => Answer::not_modified(),
        false => answer,
    }
    .with("etag", etag)
}

/// The job, or what goes wrong with this one.
fn job(plan: &Plan, chance: Chance, request: &Request, stale: Time, now: Time) -> (Answer, Shown) {
    let gone = |status| {
        (
            render::error(plan.dialect, status, "job-not-found"),
            Shown::Gone,
        )
    };
    let Some(number) = request.job else {
        return gone(404);
    };
    let job = &plan.jobs[number];
    for fault in &plan.faults {
        if let Fault::Job(of, window, fault) = fault
            && *of == number
            && window.holds(now)
            && let Some(found) = job_fault(plan, chance, number, *fault, now)
        {
            return found;
        }
    }
    let Some(version) = job.story.at(now) else {
        return gone(404);
    };
    // A replica that lags behind knows at least the first version.
    let lagging = job
        .story
        .at(now.saturating_sub(stale))
        .unwrap_or(&job.story.versions[0]);
    let version = if stale > 0 { lagging } else { version };
    let other_case = job.id.to_uppercase();
    let page = Page {
        dialect: plan.dialect,
        id: if job.other_case { &other_case } else { &job.id },
        version,
        now,
        is_turned: chance.of("turned", 0).hits(50),
    };
    let shown = Shown::Job {
        steps: page.steps(),
        verdict: version.verdict,
        changed: version.from,
    };
    (page.answer(), shown)
}

fn job_fault(
    plan: &Plan,
    chance: Chance,
    number: usize,
    fault: JobFault,
    now: Time,
) -> Option<(Answer, Shown)> {
    let own = |status, code| render::error(plan.dialect, status, code);
    let job = &plan.jobs[number];
    // With this one every 2xx and every 4xx with an error is the job.
    let any_is_job = plan.dialect == "http-status";
    let compares_ids = !any_is_job && plan.dialect != "json" && job.row.url.is_none();
    Some(match fault {
        JobFault::Unauthorized => (own(401, "unauthorized"), Shown::Refused),
        JobFault::Forbidden => (own(403, "forbidden"), Shown::Refused),
        JobFault::Throttled(wait) => throttled(plan, chance, 429, wait, now),
        JobFault::Unavailable(RetryAfter::None) => {
            throttled(plan, chance, 503, RetryAfter::Seconds(7), now)
        }
        JobFault::Unavailable(wait) => throttled(plan, chance, 503, wait, now),
        JobFault::Gone(status) => (own(status, "job-not-found"), Shown::Gone),
        JobFault::Rejected if !any_is_job => (own(400, "parameter-not-valid"), Shown::Rejected),
        JobFault::Other if compares_ids => {
            let version = job.story.at(now)?;
            let page = Page {
                dialect: plan.dialect,
                id: "another-one",
                version,
                now,
                is_turned: false,
            };
            (page.answer(), Shown::Nothing)
        }
        JobFault::Garbage | JobFault::Other if !any_is_job => {
            (Answer::json(200, "{\"half".to_owned()), Shown::Nothing)
        }
        _ => (own(500, "internal-error"), Shown::Nothing),
    })
}

fn refused(plan: &Plan, chance: Chance) -> Answer {
    // An expired token is a 403 there, not always a 401.
    match plan.dialect == "basiq" && chance.of("403", 0).hits(500) {
        true => render::error(plan.dialect, 403, "access-denied"),
        false => render::error(plan.dialect, 401, "unauthorized-access"),
    }
}

fn throttled(
    plan: &Plan,
    chance: Chance,
    status: u16,
    wait: RetryAfter,
    now: Time,
) -> (Answer, Shown) {
    let answer = match plan.dialect == "basiq" && status == 429 && chance.of("403", 1).hits(300) {
        true => render::error(plan.dialect, 403, "too-many-requests"),
        false => render::error(plan.dialect, status, "too-many-requests"),
    };
    let (value, asked) = retry_after(wait, now);
    let answer = match value {
        Some(value) => answer.with("retry-after", value),
        None => answer,
    };
    (answer, Shown::Throttled(asked))
}

/// The value of the header, and how long it asks to wait in true time.
pub(crate) fn retry_after(wait: RetryAfter, now: Time) -> (Option<String>, Option<Time>) {
    match wait {
        RetryAfter::None => (None, None),
        RetryAfter::Seconds(seconds) => (Some(seconds.to_string()), Some(seconds * SECOND)),
        RetryAfter::Date(seconds) => {
            let date = render::http_date(true_wall(now) + seconds * 1000);
            (
                Some(date),
                u64::try_from(seconds).ok().map(|seconds| seconds * SECOND),
            )
        }
        RetryAfter::Absurd => (Some("99999999999999".to_owned()), Some(Time::MAX)),
    }
}

fn proxy(plan: &Plan, page: ProxyPage) -> Answer {
    let login = Answer::html(200);
    match page {
        ProxyPage::Login if plan.dialect == "http-status" => Answer::html(502),
        ProxyPage::Login => login,
        ProxyPage::Html(status) => Answer::html(status),
        ProxyPage::NoRoute => {
            let body = r#"{"message":"no Route matched with those values"}"#;
            Answer::json(404, body.to_owned())
        }
        ProxyPage::Redirect => {
            Answer::html(302).with("location", "https://login.example/".to_owned())
        }
    }
}
