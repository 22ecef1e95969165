use std::num::NonZeroU32;

use super::*;
use crate::batch::ScheduleUpdate;
use crate::cadence::{PollingPolicy, Progress};
use crate::clock_jumps::{ClockJumps, SETTLING};
use crate::event::Subscriptions;
use crate::job::{FailureKind, JobState};
use crate::machines::gate::{PollEnd, Signal};
use crate::rows::JobRow;

/// 2026-11-22T15:04:05Z
const EPOCH: UnixMillis = UnixMillis(1_795_359_845_000);

mod blank;
mod etags;

mod steering;

mod times;

mod properties;

mod room;

fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

fn settings() -> Settings {
    Settings {
        api_origin: "https://api.example".to_owned(),
        subscriptions: Subscriptions::default(),
        policy: PollingPolicy {
            jitter: 0.0,
            ..PollingPolicy::default()
        },
        max_retry_after: Duration::from_secs(600),
        heeds_retry_after: false,
    }
}

pub(super) fn row(job: &str) -> JobRow {
    JobRow {
        id: id(job),
        url: None,
        webhook: None,
        priority: 0,
        deadline_at: None,
        not_before: None,
        cancel_requested: false,
        poll_requested: false,
        state: JobState::Pending,
        progress: Progress::default(),
        next_poll_at: None,
        created_at: EPOCH,
        is_blank: true,
    }
}

/// Rows that were read before anything else happened.
fn noticed(rows: Vec<JobRow>) -> Input {
    Input::Rows(rows, Monotonic(0))
}

fn ended(task: &Task, next: Next) -> Input {
    Input::Finished(Box::new(Finished {
        id: task.id.clone(),
        progress: task.progress.clone(),
        hash: task.hash,
        etag: task.etag.clone(),
        is_current: false,
        is_recorded: false,
        pause: Duration::ZERO,
        ended: task.work != Work::Poll,
        had_answer: false,
        tracked: None,
        next,
        reports: Vec::new(),
    }))
}

/// A poller with its gate, its budget and both clocks; what it starts is kept until it is finished.
struct World {
    poller: Poller,
    gate: Gate,
    budget: Budget,
    monotonic: Monotonic,
    wall: UnixMillis,
    jumps: ClockJumps,
    in_flight: Vec<Task>,
    started: Vec<(Monotonic, JobId)>,
    cut: Vec<JobId>,
    reading: Vec<JobId>,
    recorded: Vec<ScheduleUpdate>,
    /// How many pauses were to be recorded.
    pauses: usize,
}

impl World {
    fn new(max_in_flight: usize, per_second: Option<u32>) -> Self {
        let monotonic = Monotonic::default();
        Self {
            poller: Poller::new(settings(), max_in_flight),
            gate: Gate::new(Duration::from_secs(600)),
            budget: Budget::new(per_second.and_then(NonZeroU32::new)),
            monotonic,
            wall: EPOCH,
            jumps: ClockJumps::default(),
            in_flight: Vec::new(),
            started: Vec::new(),
            cut: Vec::new(),
            reading: Vec::new(),
            recorded: Vec::new(),
            pauses: 0,
        }
    }

    fn now(&mut self) -> Now {
        let elapsed = self.monotonic.since(Monotonic::default());
        Now {
            monotonic: self.monotonic,
            wall: self.wall,
            stability: self.jumps.observe(elapsed, self.wall),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.monotonic = self.monotonic.plus(time);
        self.wall = self.wall.plus(time);
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.poller.handle(input, now, &self.gate, &mut || 0.5);
        self.carry_out();
    }

    fn advance(&mut self) {
        let now = self.now();
        self.poller.advance(now, &self.gate, &mut self.budget);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for effect in self.poller.effects() {
            match effect {
                Effect::Start(task) => {
                    let twice = self.in_flight.iter().any(|other| other.id == task.id);
                    assert!(!twice, "{} is polled twice at once", task.id);
                    self.started.push((self.monotonic, task.id.clone()));
                    self.in_flight.push(*task);
                }
                Effect::Cut(id, _) => {
                    assert!(self.in_flight.iter().any(|task| task.id == id), "{id}");
                    self.cut.push(id);
                }
                Effect::ReadRow(id) => self.reading.push(id),
                Effect::RecordProgress(updates) => self.recorded.extend(updates),
                Effect::RecordPause(..) => self.pauses += 1,
                Effect::Forget(_) | Effect::Report(_) => {}
            }
        }
    }

    fn finish(&mut self, next: Next) {
        let task = self.in_flight.remove(0);
        self.handle(ended(&task, next));
    }

    /// Ends the first poll, whose answer was recorded and ended its job.
    fn finish_recorded(&mut self) {
        let task = self.in_flight.remove(0);
        let Input::Finished(mut over) = ended(&task, Next::Forget) else {
            panic!("not over");
        };
        over.had_answer = true;
        self.handle(Input::Finished(over));
    }

    /// Starts what is due until nothing is for this long, and finishes each poll at once.
    fn run(&mut self, time: Duration, next: Next) {
        let end = self.monotonic.plus(time);
        loop {
            self.advance();
            while !self.in_flight.is_empty() {
                self.finish(next);
                self.advance();
            }
            let now = self.now();
            let wake_at = self.poller.wake_at(now).min(end);
            self.pass(wake_at.since(self.monotonic).max(Duration::from_millis(1)));
            if self.monotonic >= end {
                return;
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.started.iter().map(|(_, id)| id.as_str()).collect()
    }

    fn signal(&mut self, job: &str, signal: Signal) {
        let ticket = self.gate.begin();
        let now = self.now();
        let job = id(job);
        let end = PollEnd {
            ticket,
            job: &job,
            signal,
            detail: "",
        };
        self.gate.note(&end, now, 0.0);
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn due_jobs_are_polled_within_the_limit_by_rank() {
    let mut world = World::new(2, None);
    let high = JobRow {
        priority: 5,
        ..row("high")
    };
    let wanted = JobRow {
        poll_requested: true,
        ..row("wanted")
    };
    let later = JobRow {
        not_before: Some(EPOCH.plus(SECOND)),
        priority: 9,
        ..row("later")
    };
    world.handle(noticed(vec![row("a"), high, later, wanted, row("b")]));
    world.advance();
    assert_eq!(world.names(), ["wanted", "high"]);
    world.pass(SECOND);
    world.finish(Next::After(SECOND));
    world.advance();
    assert_eq!(world.names(), ["wanted", "high", "later"]);
}

#[test]
fn nothing_is_started_while_outcomes_cannot_be_recorded() {
    let mut world = World::new(9, None);
    world.handle(Input::Writable(false));
    world.handle(noticed(vec![row("a")]));
    world.advance();
    assert_eq!(world.names(), [""; 0]);
    world.handle(Input::Writable(true));
    world.advance();
    assert_eq!(world.names(), ["a"]);
}

#[test]
fn after_a_pause_one_job_is_polled_alone_and_not_the_one_that_was_throttled() {
    let mut world = World::new(9, None);
    world.handle(noticed(vec![row("a"), row("b"), row("c")]));
    let retry_after = None;
    world.signal("a", Signal::Throttled { retry_after });
    world.advance();
    assert_eq!(world.names(), [""; 0]);
    let now = world.now();
    let opens = world.poller.wake_at(now);
    world.pass(opens.since(world.monotonic));
    world.advance();
    assert_eq!(world.names(), ["b"], "on trial");
    world.signal("b", Signal::Answered);
    world.finish(Next::After(SECOND));
    world.advance();
    assert_eq!(world.names(), ["b", "a", "c"]);
}

#[test]
fn a_job_that_is_inserted_again_while_the_old_one_ends_is_followed() {
    let later = Next::After(SECOND);
    for (next, ending) in [(Next::Forget, false), (later, false), (later, true)] {
        let mut world = World::new(1, None);
        world.handle(noticed(vec![row("j")]));
        if ending {
            let cancelled = JobRow {
                cancel_requested: true,
                ..row("j")
            };
            world.handle(noticed(vec![cancelled]));
        } else {
            world.advance();
        }
        let new = JobRow {
            created_at: UnixMillis(EPOCH.0 + 1),
            webhook: Some("new".to_owned()),
            ..row("j")
        };
        world.handle(noticed(vec![new]));
        if !ending {
            world.finish(next);
        }
        let job = &world.poller.jobs[&id("j")];
        assert_eq!(job.rare().webhook.as_deref(), Some("new"));
        assert!(matches!(job.state, State::Scheduled(_)), "{:?}", job.state);
    }
}

#[test]
fn a_change_of_the_same_row_while_its_job_ends_follows_nothing() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    world.handle(noticed(vec![row("j")]));
    world.finish(Next::Forget);
    assert_eq!(world.poller.followed(), 0);
}

#[test]
fn a_row_that_shows_the_end_during_a_poll_and_its_successor_are_not_polled_twice_at_once() {
    let mut world = World::new(2, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    let over = JobRow {
        state: JobState::Success,
        ..row("j")
    };
    world.handle(noticed(vec![over]));
    let next = JobRow {
        created_at: UnixMillis(EPOCH.0 + 1),
        ..row("j")
    };
    world.handle(noticed(vec![next]));
    world.advance();
    assert_eq!(world.names(), ["j"], "the first is still in flight");
    world.finish(Next::Forget);
    world.advance();
    assert_eq!(world.names(), ["j", "j"]);
}

#[test]
fn a_row_that_changes_while_it_is_read_again_is_read_once_more() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    world.finish(Next::Reread);
    let changed = JobRow {
        priority: 7,
        ..row("j")
    };
    world.handle(noticed(vec![changed.clone()]));
    world.handle(Input::Row(id("j"), Some(row("j"))));
    assert_eq!(world.reading, [id("j"), id("j")]);
    world.handle(Input::Row(id("j"), Some(changed)));
    assert_eq!(world.poller.jobs[&id("j")].rare().priority, 7);
    world.advance();
    assert_eq!(world.names(), ["j", "j"]);
}

#[test]
fn at_most_sixty_four_ends_are_recorded_at_once() {
    let mut world = World::new(1, None);
    let cancelled = |number| JobRow {
        cancel_requested: true,
        ..row(&format!("j{number}"))
    };
    world.handle(noticed((0..100).map(cancelled).collect()));
    world.handle(noticed(vec![row("polled")]));
    world.advance();
    assert_eq!(world.in_flight.len(), 65, "and a poll beside them");
    while !world.in_flight.is_empty() {
        world.finish(Next::Forget);
        world.advance();
    }
    assert_eq!((world.started.len(), world.poller.followed()), (101, 0));
}

#[test]
fn progress_is_recorded_within_minutes_and_never_that_of_all_jobs_at_once() {
    let mut world = World::new(20_000, None);
    let name = |number| format!("j{number}");
    world.handle(noticed(
        (0..20_000).map(|number| row(&name(number))).collect(),
    ));
    world.advance();
    let polled = std::mem::take(&mut world.in_flight);
    for task in &polled {
        world.handle(ended(task, Next::After(Duration::from_secs(3600))));
    }
    let mut recorded = Vec::new();
    for _ in 0..256 {
        world.pass(SECOND);
        world.advance();
        let now: Vec<JobId> = world.recorded.drain(..).map(|it| it.job_id).collect();
        assert!(now.len() <= 20_000 / 256 + 1);
        recorded.extend(now);
    }
    assert_eq!(recorded[0], id("j0"), "the first that was polled");
    recorded.sort();
    recorded.dedup();
    assert_eq!(recorded.len(), 20_000);
    // At a stop nothing is left.
    for task in &polled[..1000] {
        world.handle(noticed(vec![JobRow {
            poll_requested: true,
            ..row(task.id.as_str())
        }]));
    }
    world.advance();
    for task in std::mem::take(&mut world.in_flight) {
        world.handle(ended(&task, Next::After(SECOND)));
    }
    world.poller.flush();
    world.carry_out();
    assert_eq!(world.recorded.len(), 1000);
}

#[test]
fn progress_that_the_writer_did_not_accept_is_offered_again() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    world.finish(Next::After(Duration::from_secs(30)));
    world.pass(SECOND);
    world.advance();
    let refused = std::mem::take(&mut world.recorded);
    assert_eq!(refused.len(), 1);
    world.handle(Input::ProgressRefused(refused));
    world.advance();
    assert_eq!(world.recorded.len(), 0, "not at once");
    world.pass(SECOND);
    world.advance();
    assert_eq!(world.recorded.len(), 1);
}
