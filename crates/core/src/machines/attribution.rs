//! What a refused token is attributed to: the job that was polled, the token, or the credentials of all. Pure.

use crate::job::JobId;
use crate::planted::{self, Bug};

/// Most jobs that are remembered to have been read with a token.
const REMEMBERED: usize = 3;

/// A token with which others were read is given up after this many different jobs refused in a row, with none read between.
const FEWEST_REFUSED: usize = 3;

/// The same at most: the number doubles each time a fresh token did not help.
const MOST_REFUSED: usize = 96;

/// What a refusal is attributed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// Others are read with the same token.
    Job,
    /// It is no longer good; the next one may be.
    Token,
    /// Another token would not help, or did not.
    Credentials,
}

/// What was read with the tokens that all jobs share.
#[derive(Debug, Default)]
pub struct Reads {
    /// There is one token only, which cannot be renewed.
    is_fixed: bool,
    current: ReadWith,
    /// Those of the token before.
    previous: ReadWith,
    /// The different jobs refused since the last read, with the current token.
    refused: Vec<JobId>,
    /// How often [`FEWEST_REFUSED`] was doubled.
    doubled: u32,
    /// The current token was given up, and there is no other one yet.
    given_up: bool,
    /// The job that has a fresh token now because it was refused with the last one.
    on_trial: Option<JobId>,
}

/// The jobs that were read with one token, and for each whether it was not refused since.
#[derive(Debug, Default, Clone)]
struct ReadWith {
    generation: u64,
    jobs: Vec<(JobId, bool)>,
}

impl Reads {
    /// With a token that cannot be renewed, of generation 0.
    #[must_use]
    pub fn with_fixed_token() -> Self {
        Self {
            is_fixed: true,
            ..Self::default()
        }
    }

    /// A job was read with the token of this generation.
    pub fn read(&mut self, generation: u64, job: &JobId) {
        self.advance_to(generation);
        if generation == self.current.generation {
            self.refused.clear();
            if self.on_trial.take_if(|trial| trial == job).is_some() {
                self.doubled = 0;
            }
            self.current.read(job);
        } else if generation == self.previous.generation {
            self.previous.read(job);
        }
    }

    /// A job was refused with the token of this generation. After [`Attribution::Token`] that token must not be used any more.
    #[must_use]
    pub fn refused(&mut self, generation: u64, job: &JobId) -> Attribution {
        self.advance_to(generation);
        if generation != self.current.generation || self.given_up {
            return Attribution::Token;
        }
        self.current.refused(job);
        if !self.refused.contains(job) {
            self.refused.push(job.clone());
        }
        if self.current.reads_others(job) && !planted::is(Bug::TokenDropped) {
            let too_many = FEWEST_REFUSED << self.doubled.min(usize::BITS / 2);
            if self.refused.len() < too_many.min(MOST_REFUSED) {
                return Attribution::Job;
            }
            self.doubled = self.doubled.saturating_add(1);
        }
        self.give_up();
        self.on_trial = Some(job.clone());
        if self.is_fixed {
            self.given_up = false;
            return Attribution::Credentials;
        }
        Attribution::Token
    }

    /// A job that was refused with `first` was refused with the fresh token `second` too.
    #[must_use]
    pub fn refused_again(&mut self, first: u64, second: u64, job: &JobId) -> Attribution {
        self.advance_to(second);
        self.on_trial.take_if(|trial| trial == job);
        self.current.refused(job);
        let read_another = [&self.current, &self.previous].iter().any(|reads| {
            [first, second].contains(&reads.generation)
                && reads.jobs.iter().any(|(other, _)| other != job)
        });
        if !read_another {
            return Attribution::Credentials;
        }
        // A job refused with both tokens says nothing against the second, which is as good as the first was.
        if self.current.generation == second && self.previous.generation == first {
            for (job, _) in self.previous.jobs.iter().filter(|(_, is_good)| *is_good) {
                self.current.add(job);
            }
        }
        Attribution::Job
    }

    /// Whether a token of this generation that was refused for something else than a poll of `job` is still good.
    #[must_use]
    pub fn is_still_good(&mut self, generation: u64, job: &JobId) -> bool {
        self.advance_to(generation);
        let is_current = generation == self.current.generation;
        let good = is_current && !self.given_up && self.current.reads_others(job);
        if !good && is_current {
            self.give_up();
        }
        good
    }

    /// Whether any job was read with the token of this generation.
    #[must_use]
    pub fn has_read(&mut self, generation: u64) -> bool {
        self.advance_to(generation);
        let reads = [&self.current, &self.previous].into_iter();
        let mut of_it = reads.filter(|reads| reads.generation == generation);
        of_it.any(|reads| !reads.jobs.is_empty())
    }

    /// The job is no longer followed.
    pub fn forget(&mut self, job: &JobId) {
        for reads in [&mut self.current, &mut self.previous] {
            reads.jobs.retain(|(read, _)| read != job);
        }
        self.refused.retain(|refused| refused != job);
    }

    /// A generation that is newer than the current one takes its place. One that replaces a token that was not given up is
    /// as good as that was.
    fn advance_to(&mut self, generation: u64) {
        if generation <= self.current.generation {
            return;
        }
        self.previous = self.current.clone();
        self.current.generation = generation;
        if std::mem::take(&mut self.given_up) {
            self.current.jobs.clear();
        }
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.refused.clear();
    }
}

impl ReadWith {
    fn read(&mut self, job: &JobId) {
        self.add(job);
        let same = self.jobs.iter().position(|(read, _)| read == job);
        let refused = || self.jobs.iter().position(|(_, is_good)| !is_good);
        if let Some(at) = same.or_else(refused)
            && let Some(entry) = self.jobs.get_mut(at)
        {
            *entry = (job.clone(), true);
        }
    }

    /// Adds a job if it is not there and there is room.
    fn add(&mut self, job: &JobId) {
        let is_there = self.jobs.iter().any(|(read, _)| read == job);
        if !is_there && self.jobs.len() < REMEMBERED {
            self.jobs.push((job.clone(), true));
        }
    }

    fn refused(&mut self, job: &JobId) {
        for (_, is_good) in self.jobs.iter_mut().filter(|(read, _)| read == job) {
            *is_good = false;
        }
    }

    fn reads_others(&self, job: &JobId) -> bool {
        self.jobs
            .iter()
            .any(|(other, is_good)| other != job && *is_good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was done with the token of a generation.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Read(u64, &'static str),
        Refused(u64, &'static str, Attribution),
        Again(u64, u64, &'static str, Attribution),
        StillGood(u64, &'static str, bool),
        HasRead(u64, bool),
        Forget(&'static str),
    }

    use Attribution::{Credentials, Job, Token};
    use Step::{Again, Forget, HasRead, Read, Refused, StillGood};

    #[track_caller]
    fn check(case: &str, steps: &[Step]) {
        let mut reads = Reads::default();
        for (number, step) in steps.iter().enumerate() {
            let id = |text: &str| JobId::parse(text).unwrap();
            let at = format!("{case}, step {number}: {step:?}");
            match *step {
                Read(generation, job) => reads.read(generation, &id(job)),
                Refused(generation, job, attribution) => {
                    assert_eq!(reads.refused(generation, &id(job)), attribution, "{at}");
                }
                Again(first, second, job, attribution) => {
                    let found = reads.refused_again(first, second, &id(job));
                    assert_eq!(found, attribution, "{at}");
                }
                StillGood(generation, job, good) => {
                    assert_eq!(reads.is_still_good(generation, &id(job)), good, "{at}");
                }
                HasRead(generation, read) => {
                    assert_eq!(reads.has_read(generation), read, "{at}");
                }
                Forget(job) => reads.forget(&id(job)),
            }
        }
    }

    #[test]
    fn a_token_that_others_are_read_with_is_good() {
        check(
            "one is refused among others, for ever",
            &[
                Read(1, "a"),
                Read(1, "bad"),
                Refused(1, "bad", Job),
                Refused(1, "bad", Job),
                Read(1, "a"),
                Refused(1, "bad", Job),
                Refused(1, "bad2", Job),
                Read(1, "b"),
                Refused(1, "bad2", Job),
                Refused(1, "bad", Job),
            ],
        );
        check(
            "renewed early, it is as good as it was",
            &[Read(1, "a"), Refused(2, "bad", Job), Refused(3, "bad", Job)],
        );
    }

    #[test]
    fn with_a_single_job_a_fresh_token_is_tried_once() {
        check(
            "it helps",
            &[
                Read(1, "a"),
                Refused(1, "a", Token),
                Read(2, "a"),
                Refused(2, "a", Token),
            ],
        );
        check(
            "it does not",
            &[
                Read(1, "a"),
                Refused(1, "a", Token),
                Again(1, 2, "a", Credentials),
                Refused(2, "a", Token),
                Again(2, 3, "a", Credentials),
            ],
        );
        check(
            "those who are not followed any longer prove nothing",
            &[
                Read(1, "a"),
                Read(1, "gone"),
                Forget("gone"),
                Refused(1, "a", Token),
                Again(1, 2, "a", Credentials),
            ],
        );
    }

    #[test]
    fn a_token_that_cannot_be_renewed_is_never_given_up() {
        let (mut reads, job) = (Reads::with_fixed_token(), JobId::parse("a").unwrap());
        for _ in 0..3 {
            assert_eq!(reads.refused(0, &job), Credentials);
        }
        reads.read(0, &JobId::parse("b").unwrap());
        assert_eq!(reads.refused(0, &job), Job, "another is read with it");
    }

    #[test]
    fn a_race_at_the_start_closes_nothing() {
        check(
            "the other is read with the first token, after it was given up",
            &[
                Refused(1, "bad", Token),
                Read(1, "a"),
                Again(1, 2, "bad", Job),
                Refused(2, "bad", Job),
            ],
        );
        check(
            "the other is read with the second",
            &[
                Refused(1, "bad", Token),
                Read(2, "a"),
                Again(1, 2, "bad", Job),
                Refused(2, "bad", Job),
            ],
        );
        check(
            "nobody is read at all",
            &[
                Refused(1, "bad", Token),
                Refused(1, "worse", Token),
                Again(1, 2, "bad", Credentials),
                Again(1, 2, "worse", Credentials),
            ],
        );
    }

    #[test]
    fn a_token_that_was_revoked_is_given_up_after_three_jobs_at_most() {
        check(
            "three who were read",
            &[
                Read(1, "a"),
                Read(1, "b"),
                Read(1, "c"),
                Read(1, "d"),
                Refused(1, "a", Job),
                Refused(1, "b", Job),
                Refused(1, "c", Token),
                Refused(1, "d", Token),
                Read(2, "c"),
                Refused(2, "c", Token),
            ],
        );
        check(
            "three who were not",
            &[
                Read(1, "a"),
                Refused(1, "x", Job),
                Refused(1, "y", Job),
                Refused(1, "x", Job),
                Refused(1, "z", Token),
                Read(2, "z"),
            ],
        );
        check(
            "two, when there are no more",
            &[
                Read(1, "a"),
                Read(1, "b"),
                Refused(1, "a", Job),
                Refused(1, "b", Token),
                Read(2, "b"),
            ],
        );
        check(
            "and when no token is any good, the credentials are refused with the next",
            &[
                Read(1, "a"),
                Read(1, "b"),
                Refused(1, "a", Job),
                Refused(1, "b", Token),
                Again(1, 2, "b", Job),
                Refused(2, "a", Token),
                Again(2, 3, "a", Credentials),
            ],
        );
    }

    #[test]
    fn a_fresh_token_that_was_of_no_use_is_as_good_as_the_last_and_the_next_comes_later() {
        let bad = |token, names: &[&'static str]| {
            let refused = names.iter().map(|name| Refused(token, name, Job));
            refused.collect::<Vec<_>>()
        };
        let mut steps = vec![Read(1, "a")];
        steps.extend(bad(1, &["x", "y"]));
        steps.extend([Refused(1, "z", Token), Again(1, 2, "z", Job)]);
        steps.extend(bad(2, &["x", "y", "z", "x", "y", "z"]));
        steps.push(Read(2, "a"));
        steps.extend(bad(2, &["x", "y", "z", "u", "v"]));
        steps.extend([Refused(2, "w", Token), Read(3, "w")]);
        steps.extend([Read(3, "a"), Refused(3, "x", Job), Refused(3, "y", Job)]);
        steps.push(Refused(3, "z", Token));
        check("three bad jobs among good ones", &steps);
    }

    #[test]
    fn something_else_that_is_refused_does_not_cost_a_good_token() {
        check(
            "good",
            &[Read(1, "a"), StillGood(1, "b", true), Refused(1, "b", Job)],
        );
        check(
            "not proven",
            &[
                Read(1, "a"),
                StillGood(1, "a", false),
                Refused(1, "x", Token),
                HasRead(2, false),
            ],
        );
    }

    #[test]
    fn a_token_that_any_job_was_read_with_may_read_jobs() {
        check(
            "read",
            &[
                HasRead(1, false),
                Read(1, "a"),
                HasRead(1, true),
                HasRead(2, true),
                Refused(2, "a", Token),
                HasRead(3, false),
                HasRead(2, true),
            ],
        );
    }
}
