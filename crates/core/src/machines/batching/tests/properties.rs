//! What holds for any changes, whatever the commits bring.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::observe::Remote;

/// What a change is, and whether the database refuses it or its rows have changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Recorded,
    Stale,
    Refused,
}

#[derive(Debug, Clone)]
enum Input {
    Seen(&'static str, usize, Fate),
    Attempted(&'static str, usize, Fate),
    Expired(usize, Fate),
    Scheduled(&'static str),
    PollRequestsTaken(&'static str),
    UpstreamPaused(&'static str),
    ChangesSeen(i64),
    /// Commits so many transactions; before each the database cannot be written so many times.
    Commit(usize, usize),
}

fn input() -> impl Strategy<Value = Input> {
    let job = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let bytes = || prop_oneof![12 => 0..2000usize, 1 => 1_000_000..3_000_000usize];
    let fate = || {
        prop_oneof![
            6 => Just(Fate::Recorded),
            1 => Just(Fate::Stale),
            1 => Just(Fate::Refused)
        ]
    };
    let good = prop_oneof![6 => Just(Fate::Recorded), 1 => Just(Fate::Refused)];
    prop_oneof![
        6 => (job(), bytes(), fate()).prop_map(|(job, bytes, fate)| Input::Seen(job, bytes, fate)),
        4 => (job(), bytes(), fate()).prop_map(|(job, bytes, fate)| Input::Attempted(job, bytes, fate)),
        2 => (0..3usize, good).prop_map(|(count, fate)| Input::Expired(count, fate)),
        2 => job().prop_map(Input::Scheduled),
        1 => job().prop_map(Input::PollRequestsTaken),
        1 => job().prop_map(Input::UpstreamPaused),
        1 => (1..99i64).prop_map(Input::ChangesSeen),
        2 => (0..4usize, 0..3usize).prop_map(|(count, failures)| Input::Commit(count, failures)),
    ]
}

static SEEN: LazyLock<Recordable> = LazyLock::new(|| seen("j", "in-progress", "1"));

/// The changes, the database, and what was answered. The number of a change is its ticket and stands in it.
#[derive(Default)]
struct Run {
    batching: Batching<usize>,
    /// Of each ticket: the fate, the job if it is an observation or an attempt, and the answers.
    tickets: Vec<(Fate, Option<&'static str>, Vec<Recorded>)>,
    /// In the order of the commits.
    committed: Vec<usize>,
    bookkeeping: [Vec<String>; 2],
    pauses: BTreeMap<String, i64>,
    newest: Option<i64>,
    now: u64,
    writable: Vec<Writable>,
}

impl Run {
    fn ticket(&mut self, fate: Fate, job: Option<&'static str>) -> usize {
        self.tickets.push((fate, job, Vec::new()));
        self.tickets.len() - 1
    }

    fn apply(&mut self, input: &Input, expected: &mut Run) {
        match *input {
            Input::Seen(job, bytes, fate) => {
                let ticket = self.ticket(fate, Some(job));
                let mut recordable = SEEN.clone();
                recordable.observation.job_id = JobId::parse(job).unwrap();
                recordable.observation.revision = i64::try_from(ticket).unwrap();
                recordable.observation.remote = Some(Remote {
                    resource: Some("x".repeat(bytes)),
                    updated: None,
                    user: None,
                    users: Vec::new(),
                });
                self.batching
                    .push(Change::Seen(Box::new(recordable), ticket));
            }
            Input::Attempted(job, bytes, fate) => {
                let ticket = self.ticket(fate, Some(job));
                let mut attempt = attempt(1);
                attempt.job_id = JobId::parse(job).unwrap();
                attempt.attempt.event_id = ticket.to_string();
                attempt.attempt.answer = Some("x".repeat(bytes));
                self.batching
                    .push(Change::Attempted(Box::new(attempt), ticket));
            }
            Input::Expired(count, fate) => {
                let fate = if count == 0 { Fate::Recorded } else { fate };
                let ticket = self.ticket(fate, None);
                let expiries = vec![undelivered(&ticket.to_string()); count];
                self.batching.push(Change::Expired(expiries, ticket));
            }
            Input::Scheduled(job) => {
                let mut schedule = SEEN.schedule.clone();
                schedule.job_id = JobId::parse(job).unwrap();
                expected.bookkeeping[0].push(job.to_owned());
                self.batching.push(Change::Scheduled(vec![schedule]));
            }
            Input::PollRequestsTaken(job) => {
                expected.bookkeeping[1].push(job.to_owned());
                let jobs = vec![JobId::parse(job).unwrap()];
                self.batching.push(Change::PollRequestsTaken(jobs, 1));
            }
            Input::UpstreamPaused(origin) => {
                self.now += 1;
                let until = i64::try_from(self.now).unwrap();
                expected.pauses.insert(origin.to_owned(), until);
                let paused = Change::UpstreamPaused(origin.to_owned(), UnixMillis(until));
                self.batching.push(paused);
            }
            Input::ChangesSeen(newest) => {
                expected.newest = expected.newest.max(Some(newest));
                self.batching.push(Change::ChangesSeen(newest));
            }
            Input::Commit(count, failures) => {
                for _ in 0..count {
                    self.commit(failures);
                }
            }
        }
    }

    /// Commits one transaction as the database would; returns whether there was one.
    fn commit(&mut self, failures: usize) -> bool {
        for _ in 0..failures {
            if self.batching.start(at(self.now)).is_none() {
                return false;
            }
            let effects = self
                .batching
                .unwritable(Writable::Locked, at(self.now).monotonic);
            self.perform(effects);
            assert!(self.batching.start(at(self.now)).is_none());
            self.now += 500;
        }
        let Some(batch) = self.batching.start(at(self.now)) else {
            return false;
        };
        check_bounds(batch);
        let tickets = tickets(batch);
        let refused = |ticket: &usize| self.tickets[*ticket].0 == Fate::Refused;
        let effects = if tickets.iter().any(refused) {
            self.batching.refused("rule").unwrap()
        } else {
            let committed = self.recorded(&tickets);
            self.batching.committed(&committed)
        };
        self.perform(effects);
        true
    }

    fn recorded(&mut self, tickets: &[usize]) -> Committed {
        let batch = self.batching.start(at(self.now)).unwrap();
        let mut committed = Committed::default();
        for seen in &batch.observations {
            let ticket = usize::try_from(seen.observation.revision).unwrap();
            if self.tickets[ticket].0 == Fate::Recorded {
                committed.recorded.insert(seen.observation.job_id.clone());
            }
        }
        for attempt in &batch.attempts {
            let sent = &attempt.attempt;
            let ticket: usize = sent.event_id.parse().unwrap();
            if self.tickets[ticket].0 == Fate::Stale {
                let key = (sent.event_id.clone(), sent.webhook.clone(), sent.number);
                committed.unexpected_attempts.insert(key);
            }
        }
        let jobs = |ids: Vec<&JobId>| ids.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let schedules = jobs(batch.schedules.iter().map(|each| &each.job_id).collect());
        self.bookkeeping[0].extend(schedules);
        self.bookkeeping[1].extend(jobs(
            batch.poll_requests_taken.iter().map(|(id, _)| id).collect(),
        ));
        if let Some((origin, until)) = &batch.upstream_paused {
            self.pauses.insert(origin.clone(), until.0);
        }
        self.newest = self.newest.max(batch.changes_seen);
        self.committed.extend(tickets);
        committed
    }

    fn perform(&mut self, effects: Vec<Effect<usize>>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, recorded) => self.tickets[ticket].2.push(recorded),
                Effect::Writable(state) => self.writable.push(state),
                Effect::Notify(jobs) => assert!(!jobs.is_empty()),
                Effect::Wake(_) | Effect::Report(_) => {}
            }
        }
    }
}

fn tickets(batch: &Batch) -> Vec<usize> {
    let seen = batch.observations.iter();
    let seen = seen.map(|each| usize::try_from(each.observation.revision).unwrap());
    let attempts = batch.attempts.iter();
    let attempts = attempts.map(|each| each.attempt.event_id.parse().unwrap());
    let expiries = batch.expiries.iter();
    let expiries = expiries.map(|each| each.event_id.parse().unwrap());
    let mut tickets: Vec<usize> = seen.chain(attempts).chain(expiries).collect();
    tickets.dedup();
    tickets
}

fn check_bounds(batch: &Batch) {
    assert!(batch.changes() <= MAX_BATCH);
    let single = batch.observations.len() + batch.attempts.len() == 1;
    assert!(single || bytes(batch) <= MAX_BATCH_BYTES);
    let jobs: BTreeSet<&JobId> = batch
        .observations
        .iter()
        .map(|each| &each.observation.job_id)
        .collect();
    assert_eq!(jobs.len(), batch.observations.len(), "one per job");
    assert!(batch.now.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_change_is_recorded_and_answered_once_in_order_and_only_the_guilty_are_refused(
        inputs in prop::collection::vec(input(), 0..60),
    ) {
        let (mut run, mut expected) = (Run::default(), Run::default());
        for input in &inputs {
            run.apply(input, &mut expected);
        }
        while run.commit(0) || run.batching.wake_at().is_some() {
            run.now += 1;
        }
        for (fate, _, answers) in &run.tickets {
            let answer = match fate {
                Fate::Recorded => Recorded::Yes,
                Fate::Stale => Recorded::Stale,
                Fate::Refused => Recorded::Refused("rule".to_owned()),
            };
            prop_assert_eq!(answers, &[answer]);
        }
        for kind in ["seen", "attempted"] {
            for job in ["a", "b", "c", "d"] {
                let of_it = |ticket: &&usize| {
                    let is_kind = matches!(inputs_of(&inputs)[**ticket], Input::Seen(..)) == (kind == "seen");
                    run.tickets[**ticket].1 == Some(job) && is_kind
                };
                let order: Vec<&usize> = run.committed.iter().filter(of_it).collect();
                prop_assert!(order.is_sorted(), "{} of {}: {:?}", kind, job, order);
            }
        }
        prop_assert_eq!(&run.bookkeeping, &expected.bookkeeping);
        prop_assert_eq!(&run.pauses, &expected.pauses);
        prop_assert!(run.newest <= expected.newest);
        prop_assert!(run.writable.last().is_none_or(|state| *state == Writable::Yes));
        prop_assert!(run.writable.windows(2).all(|pair| pair[0] != pair[1]));
        run.batching.push(Change::PollRequestsTaken(vec![job("a")], 1));
        run.commit(0);
        prop_assert_eq!(run.newest, expected.newest, "with the next transaction");
    }
}

/// Those with a ticket, by ticket.
fn inputs_of(inputs: &[Input]) -> Vec<&Input> {
    let has = |input: &&Input| {
        matches!(
            input,
            Input::Seen(..) | Input::Attempted(..) | Input::Expired(..)
        )
    };
    inputs.iter().filter(has).collect()
}
