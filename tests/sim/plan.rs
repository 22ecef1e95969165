//! What a seed stands for: settings, jobs, webhooks, what people do, and which faults come when. It is data, drawn before
//! the run, so that parts of it can be left out to find out which of them a failure needs.

mod faults;
mod jobs;
mod people;
mod settings;

use std::collections::BTreeSet;

pub(crate) use faults::{
    ApiFault, Crash, DiskFault, Fault, JobFault, Page, ReceiverFault, RetryAfter,
};
pub(crate) use jobs::JobPlan;
pub(crate) use people::{Action, Deed};
pub(crate) use settings::{DIALECTS, Settings, WebhookPlan};

use crate::chance::Chance;
use crate::time::{HOUR, MINUTE, SECOND, Time};

/// All that happens from outside.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Whether the tables are a real SQLite file.
    pub(crate) is_on_disk: bool,
    /// How long jobs, people and faults go on; after that everything is healed.
    pub(crate) horizon: Time,
    pub(crate) dialect: &'static str,
    /// How entity tags of the API begin, if it has some: strong or weak ones.
    pub(crate) etags: Option<&'static str>,
    /// Those of the start.
    pub(crate) settings: Settings,
    pub(crate) webhooks: Vec<WebhookPlan>,
    pub(crate) jobs: Vec<JobPlan>,
    /// In the order of their times.
    pub(crate) actions: Vec<Action>,
    pub(crate) faults: Vec<Fault>,
}

/// A part that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Job(usize),
    Action(usize),
    Fault(usize),
}

/// One seed in so many uses a real SQLite file.
const ON_DISK: u64 = 50;

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let chance = Chance::new(seed);
        let mut draws = chance.of("plan", 0).draws();
        let is_on_disk = seed % ON_DISK == ON_DISK - 1;
        let horizon = match draws.between(0, 19) {
            // A file is slow.
            _ if is_on_disk => 10 * MINUTE,
            0..8 => 10 * MINUTE,
            8..12 => 30 * MINUTE,
            12..16 => HOUR,
            16..18 => 6 * HOUR,
            18 => 24 * HOUR,
            _ => 48 * HOUR,
        };
        let dialect = match draws.percent(40) {
            true => DIALECTS[0],
            false => draws.pick(&DIALECTS),
        };
        let (mut settings, webhooks) = settings::draw(chance, dialect, horizon);
        if jobs::bullies(chance, horizon) > 0 {
            // They are due whenever a pause ends.
            settings.error_max_delay = 20 * SECOND;
        }
        let jobs = jobs::draw(chance, dialect, horizon, &settings, &webhooks);
        let actions = people::draw(chance, horizon, &jobs, &webhooks, &settings);
        let faults = faults::draw(chance, dialect, horizon, &jobs, &webhooks);
        Self {
            seed,
            is_on_disk,
            horizon,
            dialect,
            etags: etags(chance),
            settings,
            webhooks,
            jobs,
            actions,
            faults,
        }
    }

    /// Every part that can be left out.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let jobs = (0..self.jobs.len()).map(Part::Job);
        let actions = (0..self.actions.len()).map(Part::Action);
        jobs.chain(actions)
            .chain((0..self.faults.len()).map(Part::Fault))
            .collect()
    }

    /// The plan with these parts alone. Jobs keep their numbers.
    pub(crate) fn only(&self, parts: &BTreeSet<Part>) -> Self {
        let mut plan = self.clone();
        for (number, job) in plan.jobs.iter_mut().enumerate() {
            job.is_left_out = !parts.contains(&Part::Job(number));
        }
        let kept = |part: fn(usize) -> Part| {
            let mut number = 0;
            move || {
                number += 1;
                parts.contains(&part(number - 1))
            }
        };
        let (mut action, mut fault) = (kept(Part::Action), kept(Part::Fault));
        plan.actions.retain(|_| action());
        plan.faults.retain(|_| fault());
        plan
    }

    /// Whether the API fails for every job at some time in between.
    pub(crate) fn api_fails(&self, from: Time, until: Time) -> bool {
        self.faults.iter().any(|fault| match fault {
            Fault::Api(window, ApiFault::Stale(..)) => window.from > until,
            Fault::Api(window, _) | Fault::Disk(window, _) => {
                window.from <= until && from < window.until
            }
            _ => false,
        })
    }

    /// Whether answers come from replicas that lag behind.
    pub(crate) fn has_stale(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| matches!(fault, Fault::Api(_, ApiFault::Stale(..))))
    }

    /// Whether the process may be down at some time in between.
    pub(crate) fn has_downtime(&self, from: Time, until: Time) -> bool {
        let is_down = |fault: &Fault| match fault {
            Fault::Crash(crash) => crash.at < until,
            Fault::Disk(window, DiskFault::Broken { .. } | DiskFault::Unreadable) => {
                window.from < until
            }
            _ => false,
        };
        let mut restarts = self
            .actions
            .iter()
            .filter(|action| matches!(action.deed, Deed::Restart));
        self.faults.iter().any(is_down) || restarts.any(|action| (from..until).contains(&action.at))
    }

    /// The parts for people, one a line.
    pub(crate) fn print(&self) {
        println!(
            "  dialect {}, entity tags {:?}, {} webhooks, {} of simulated time, then healed{}",
            self.dialect,
            self.etags,
            self.webhooks.len(),
            crate::time::shown(self.horizon),
            if self.is_on_disk {
                ", tables in a SQLite file"
            } else {
                ""
            },
        );
        println!("  {:?}", self.settings);
        for webhook in &self.webhooks {
            println!("  {webhook:?}");
        }
        for (number, job) in self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| !job.is_left_out)
        {
            println!("  job {number}: {}", job.line());
        }
        for action in &self.actions {
            println!("  {}  {:?}", crate::time::shown(action.at), action.deed);
        }
        for fault in &self.faults {
            println!("  {}", fault.line());
        }
    }
}

fn etags(chance: Chance) -> Option<&'static str> {
    let mut draws = chance.of("etags", 0).draws();
    draws.pick(&[None, Some("\""), Some("W/\"")])
}
