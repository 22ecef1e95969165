//! What goes wrong: which kinds there are at all is drawn first (a swarm), then when, how long and for whom.

use crate::chance::{Chance, Draws};
use crate::time::{HOUR, MINUTE, MS, SECOND, Time, shown};

use super::jobs::JobPlan;
use super::settings::WebhookPlan;

/// From when until when something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Time,
    pub(crate) until: Time,
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Crash(Crash),
    /// The wall clock of the daemon's host is set by so many milliseconds.
    ClockSet {
        at: Time,
        millis: i64,
    },
    Disk(Window, DiskFault),
    Api(Window, ApiFault),
    /// A job, by its number.
    Job(usize, Window, JobFault),
    /// A webhook, by its number.
    Receiver(usize, Window, ReceiverFault),
}

/// The process is killed at its first effect after `at`, `skip` further ones aside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    pub(crate) at: Time,
    pub(crate) skip: u64,
    /// Whether the effect happens before the process dies.
    pub(crate) after: bool,
    /// How long until it is started again.
    pub(crate) down: Time,
    /// A second kill so many effects after that start.
    pub(crate) again: Option<u64>,
}

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    Full,
    /// Another program holds the lock.
    Locked,
    /// Each transaction takes this long.
    Slow(Time),
    /// The first transaction fails with an error after which nobody knows whether it was committed: it was, or not.
    Broken {
        committed: bool,
    },
    /// The first read fails.
    Unreadable,
}

/// What the API does to every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiFault {
    /// No connection.
    Refused,
    /// No answer.
    Silent,
    /// So many answers in a thousand are lost after the API has answered.
    Lost(u64),
    /// So many take this long.
    Slow(u64, Time),
    /// 500 to 504.
    Error(u16),
    Throttled(RetryAfter),
    Page(Page),
    /// So many answers in a thousand come from a replica that lags behind by so much.
    Stale(u64, Time),
    /// Tokens granted before the window are refused from its beginning.
    Revoked,
    /// The token endpoint fails with this status.
    NoToken(u16),
    /// The token endpoint refuses the key.
    WrongKey,
    /// The bytes of a 2xx break off.
    Broken(u64),
}

/// What a proxy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// A login page with 200.
    Login,
    /// HTML with 404, 400 or 410.
    Html(u16),
    /// A gateway's JSON with 404.
    NoRoute,
    Redirect,
}

/// What an answer says about when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    None,
    Seconds(u64),
    /// A date so many seconds from now.
    Date(i64),
    /// A number that is no duration anybody means.
    Absurd,
}

/// What the API does to one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobFault {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    Throttled(RetryAfter),
    /// 503 with `Retry-After`.
    Unavailable(RetryAfter),
    /// 404 or 410 in the API's own words.
    Gone(u16),
    /// 400 in the API's own words.
    Rejected,
    Error(u16),
    /// The answer is another job.
    Other,
    Garbage,
}

/// What a receiver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiverFault {
    /// No connection.
    Dead,
    /// No answer.
    Hangs,
    /// The connection breaks after the event was processed.
    Resets,
    Status(u16),
    /// So many requests in a thousand fail with 500.
    Flaky(u64),
    Paused(u16, RetryAfter),
    /// 410.
    Gone,
    /// `webhook-delivery: disable`.
    Disables,
    /// 2xx after so long.
    Slow(Time),
    /// The events of this job are refused with 422.
    RefusesJob(usize),
    /// The same with `webhook-delivery: abort-message`.
    Aborts(usize),
    /// Events of this type are refused.
    RefusesType(&'static str),
}

impl Window {
    pub(crate) fn holds(self, at: Time) -> bool {
        (self.from..self.until).contains(&at)
    }
}

impl Fault {
    pub(crate) fn line(&self) -> String {
        let during = |window: &Window| format!("{} to {}", shown(window.from), shown(window.until));
        match self {
            Self::Crash(crash) => format!(
                "{}  killed at effect {} from then on, {} it; down for {}{}",
                shown(crash.at),
                crash.skip,
                if crash.after { "after" } else { "before" },
                shown(crash.down),
                crash
                    .again
                    .map_or(String::new(), |n| format!(", killed again at effect {n}"))
            ),
            Self::ClockSet { at, millis } => format!("{}  clock set by {millis} ms", shown(*at)),
            Self::Disk(window, fault) => format!("{}  disk {fault:?}", during(window)),
            Self::Api(window, fault) => format!("{}  API {fault:?}", during(window)),
            Self::Job(job, window, fault) => format!("{}  job {job} {fault:?}", during(window)),
            Self::Receiver(webhook, window, fault) => {
                format!("{}  webhook {webhook} {fault:?}", during(window))
            }
        }
    }
}

/// Draws faults; each kind is on in some seeds only.
struct Swarm<'a> {
    draws: Draws,
    horizon: Time,
    jobs: &'a [JobPlan],
    webhooks: usize,
    /// Whether the dialect says when a job was changed, so that a lagging replica can be found out.
    has_updated: bool,
    faults: Vec<Fault>,
}

pub(super) fn draw(
    chance: Chance,
    dialect: &str,
    horizon: Time,
    jobs: &[JobPlan],
    webhooks: &[WebhookPlan],
) -> Vec<Fault> {
    let mut swarm = Swarm {
        draws: chance.of("faults", 0).draws(),
        horizon,
        jobs,
        webhooks: webhooks.len(),
        has_updated: !matches!(dialect, "http-status" | "openai-batch"),
        faults: Vec::new(),
    };
    // One seed in ten has no faults at all.
    if swarm.draws.percent(90) {
        let on: Vec<bool> = (0..6).map(|_| swarm.draws.percent(45)).collect();
        for kind in on
            .iter()
            .enumerate()
            .filter_map(|(kind, is_on)| is_on.then_some(kind))
        {
            match kind {
                0 => swarm.crashes(),
                1 => swarm.clocks(),
                2 => swarm.disks(),
                3 => swarm.api(),
                4 => swarm.job_faults(),
                _ => swarm.receivers(),
            }
        }
    }
    let bullies = usize::try_from(super::jobs::bullies(chance, horizon)).unwrap_or(0);
    for job in 0..bullies.min(jobs.len()) {
        let always = Window {
            from: 0,
            until: horizon,
        };
        let fault = JobFault::Throttled(RetryAfter::None);
        swarm.faults.push(Fault::Job(job, always, fault));
    }
    swarm.faults
}

impl Swarm<'_> {
    fn window(&mut self, longest: Time) -> Window {
        let from = self.draws.between(0, self.horizon);
        let length = self.draws.scale(SECOND, longest.max(2 * SECOND));
        Window {
            from,
            until: (from + length).min(self.horizon),
        }
    }

    fn crashes(&mut self) {
        for _ in 0..self.draws.scale(1, 8) {
            let crash = Crash {
                at: self.draws.between(0, self.horizon),
                skip: self.draws.scale(1, 60) - 1,
                after: self.draws.percent(50),
                down: match self.draws.percent(85) {
                    true => self.draws.scale(MS, 5 * SECOND),
                    false => self.draws.scale(SECOND, self.horizon / 4),
                },
                again: self.draws.percent(25).then(|| self.draws.between(0, 30)),
            };
            self.faults.push(Fault::Crash(crash));
        }
    }

    fn clocks(&mut self) {
        let mut total = 0;
        for _ in 0..self.draws.scale(1, 3) {
            let at = self.draws.between(0, self.horizon);
            let size = self.draws.scale(30_000, 4 * 3_600_000).cast_signed();
            let millis = match self.draws.percent(50) {
                true => size,
                false => -size,
            };
            total += millis;
            self.faults.push(Fault::ClockSet { at, millis });
        }
        // In the end it is right again.
        let (at, millis) = (self.horizon, -total);
        self.faults.push(Fault::ClockSet { at, millis });
    }

    fn disks(&mut self) {
        for _ in 0..self.draws.scale(1, 4) {
            let window = self.window(self.horizon / 10);
            let fault = match self.draws.between(0, 5) {
                0 | 1 => DiskFault::Full,
                2 => DiskFault::Locked,
                3 => DiskFault::Slow(self.draws.scale(20 * MS, 2 * SECOND)),
                4 => {
                    let committed = self.draws.percent(50);
                    DiskFault::Broken { committed }
                }
                _ => DiskFault::Unreadable,
            };
            self.faults.push(Fault::Disk(window, fault));
        }
    }

    fn retry_after(&mut self) -> RetryAfter {
        match self.draws.between(0, 5) {
            0 => RetryAfter::None,
            1 | 2 => RetryAfter::Seconds(self.draws.scale(1, 600) - 1),
            3 => RetryAfter::Date(self.draws.between(1, 300).cast_signed()),
            4 => RetryAfter::Date(-self.draws.between(1, 100_000).cast_signed()),
            _ => RetryAfter::Absurd,
        }
    }

    fn api(&mut self) {
        for _ in 0..self.draws.scale(1, 5) {
            let window = self.window(self.horizon / 6);
            let often = self.draws.pick(&[50, 200, 600]);
            let fault = match self.draws.between(0, 12) {
                0 => ApiFault::Refused,
                1 => ApiFault::Silent,
                2 => ApiFault::Lost(often),
                3 => ApiFault::Slow(often, self.draws.scale(SECOND, 30 * SECOND)),
                4 => ApiFault::Error(self.draws.pick(&[500, 502, 503, 504])),
                5 => ApiFault::Throttled(self.retry_after()),
                6 => ApiFault::Page(self.draws.pick(&[
                    Page::Login,
                    Page::Html(404),
                    Page::Html(400),
                    Page::Html(410),
                    Page::NoRoute,
                    Page::Redirect,
                ])),
                7 | 8 if self.has_updated => ApiFault::Stale(often, self.draws.scale(SECOND, HOUR)),
                7 | 8 => ApiFault::Lost(often),
                9 => ApiFault::Revoked,
                10 => ApiFault::NoToken(self.draws.pick(&[500, 503, 403, 429])),
                11 => ApiFault::WrongKey,
                _ => ApiFault::Broken(often),
            };
            self.faults.push(Fault::Api(window, fault));
        }
    }

    fn job_faults(&mut self) {
        // Some last until everything is healed.
        for _ in 0..self.draws.scale(1, 6) {
            let job = self.draws.index(self.jobs.len());
            let mut window = self.window(self.horizon / 3);
            if self.draws.percent(40) {
                window = Window {
                    from: 0,
                    until: self.horizon,
                };
            }
            let fault = match self.draws.between(0, 9) {
                0 => JobFault::Unauthorized,
                1 => JobFault::Forbidden,
                2 | 3 => JobFault::Throttled(self.retry_after()),
                4 => JobFault::Unavailable(self.retry_after()),
                5 | 6 => JobFault::Gone(self.draws.pick(&[404, 410])),
                7 => JobFault::Rejected,
                8 => JobFault::Error(500),
                _ => self.draws.pick(&[JobFault::Other, JobFault::Garbage]),
            };
            self.faults.push(Fault::Job(job, window, fault));
        }
    }

    fn receivers(&mut self) {
        for _ in 0..self.draws.scale(1, 5) {
            let webhook = self.draws.index(self.webhooks);
            let mut window = self.window(self.horizon / 3);
            let job = self.draws.index(self.jobs.len());
            if self.draws.percent(25) {
                window = Window {
                    from: 0,
                    until: self.horizon,
                };
            }
            let fault = match self.draws.between(0, 13) {
                0 | 1 => ReceiverFault::Dead,
                2 => ReceiverFault::Hangs,
                3 => ReceiverFault::Resets,
                4 => ReceiverFault::Status(self.draws.pick(&[500, 502, 302, 401, 404])),
                5 => ReceiverFault::Flaky(self.draws.pick(&[100, 400, 800])),
                6 | 7 => ReceiverFault::Paused(self.draws.pick(&[429, 503]), self.retry_after()),
                8 => ReceiverFault::Gone,
                9 => ReceiverFault::Disables,
                10 => ReceiverFault::Slow(self.draws.scale(50 * MS, 10 * SECOND)),
                11 => ReceiverFault::RefusesJob(job),
                12 => ReceiverFault::Aborts(job),
                _ => ReceiverFault::RefusesType("job.action_required"),
            };
            if matches!(fault, ReceiverFault::Gone | ReceiverFault::Disables) {
                window.until = window.until.min(window.from + MINUTE);
            }
            self.faults.push(Fault::Receiver(webhook, window, fault));
        }
    }
}
