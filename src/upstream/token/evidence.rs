//! Whose trouble a refused token is: the job's that was asked for, or that of all. Pure.

use crate::core::job::JobId;

/// Most jobs that are remembered to have been read with a token.
const WITNESSES: usize = 3;

/// So many different jobs refused in a row, with none read between, speak against a token that others were read with.
const FEWEST_REFUSED: usize = 3;

/// Most that it ever takes; it doubles each time a fresh token was of no use.
const MOST_REFUSED: usize = 96;

/// What a refusal is the fault of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Blame {
    /// Others are read with the same token.
    Job,
    /// It is of no use any more; the next one may be.
    Token,
    /// Another token would not help, or did not.
    Credentials,
}

/// What was read with the tokens that all jobs share.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    current: Reads,
    /// Those of the token before.
    previous: Reads,
    /// The different jobs refused since the last read, with the current token.
    refused: Vec<JobId>,
    /// How often [`FEWEST_REFUSED`] was doubled.
    doubled: u32,
    /// The current token was given up, and there is no other one yet.
    given_up: bool,
    /// The job that has a fresh token now because it was refused with the last one.
    on_trial: Option<JobId>,
}

/// Who was read with one token.
#[derive(Debug, Default, Clone)]
struct Reads {
    generation: u64,
    witnesses: Vec<Witness>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Witness {
    job: JobId,
    /// Whether it was not refused since.
    stands: bool,
}

impl Evidence {
    /// A job was read with the token of this generation.
    pub(super) fn read(&mut self, generation: u64, job: &JobId) {
        self.meet(generation);
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

    /// A job was refused with the token of this generation. After [`Blame::Token`] that token is not to be used any more.
    pub(super) fn refused(&mut self, generation: u64, job: &JobId) -> Blame {
        self.meet(generation);
        if generation != self.current.generation || self.given_up {
            return Blame::Token;
        }
        self.current.refused(job);
        if !self.refused.contains(job) {
            self.refused.push(job.clone());
        }
        let others_stand = self.current.others(job).any(|witness| witness.stands);
        if others_stand && self.refused.len() < self.too_many() {
            return Blame::Job;
        }
        if others_stand {
            self.doubled = self.doubled.saturating_add(1);
        }
        self.give_up();
        self.on_trial = Some(job.clone());
        Blame::Token
    }

    /// A job that was refused with `first` was refused with the fresh token `second` too.
    pub(super) fn refused_again(&mut self, first: u64, second: u64, job: &JobId) -> Blame {
        self.meet(second);
        self.on_trial.take_if(|trial| trial == job);
        self.current.refused(job);
        let reads = [&self.current, &self.previous];
        let of_both = reads
            .into_iter()
            .filter(|reads| [first, second].contains(&reads.generation));
        if of_both.flat_map(|reads| reads.others(job)).next().is_none() {
            return Blame::Credentials;
        }
        // What refuses it with both tokens says nothing against the second, which is as good as the first was.
        if self.current.generation == second && self.previous.generation == first {
            let Self {
                current, previous, ..
            } = self;
            let standing = previous.witnesses.iter().filter(|witness| witness.stands);
            standing.for_each(|witness| current.read_if_room(&witness.job));
        }
        Blame::Job
    }

    /// Whether a token of this generation that was refused for something else than a poll of `job` is still good.
    pub(super) fn vouches(&mut self, generation: u64, job: &JobId) -> bool {
        self.meet(generation);
        let others_stand = self.current.others(job).any(|witness| witness.stands);
        let good = generation == self.current.generation && !self.given_up && others_stand;
        if !good && generation == self.current.generation {
            self.give_up();
        }
        good
    }

    /// Whether any job was read with the token of this generation.
    pub(super) fn has_read(&mut self, generation: u64) -> bool {
        self.meet(generation);
        let reads = [&self.current, &self.previous];
        let mut of_it = reads
            .into_iter()
            .filter(|reads| reads.generation == generation);
        of_it.any(|reads| !reads.witnesses.is_empty())
    }

    /// The job is no longer followed.
    pub(super) fn forget(&mut self, job: &JobId) {
        for reads in [&mut self.current, &mut self.previous] {
            reads.witnesses.retain(|witness| witness.job != *job);
        }
        self.refused.retain(|refused| refused != job);
    }

    /// A generation that is newer than the current one takes its place. One that replaces a token that nothing was said
    /// against is as good as that was.
    fn meet(&mut self, generation: u64) {
        if generation <= self.current.generation {
            return;
        }
        self.previous = self.current.clone();
        self.current.generation = generation;
        if std::mem::take(&mut self.given_up) {
            self.current.witnesses.clear();
        }
    }

    /// The token was given up, but there will never be another one.
    pub(super) fn keep(&mut self) {
        self.given_up = false;
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.refused.clear();
    }

    fn too_many(&self) -> usize {
        (FEWEST_REFUSED << self.doubled.min(usize::BITS / 2)).min(MOST_REFUSED)
    }
}

impl Reads {
    fn read(&mut self, job: &JobId) {
        if let Some(known) = self.witnesses.iter_mut().find(|known| known.job == *job) {
            known.stands = true;
        } else if self.witnesses.len() < WITNESSES {
            self.read_if_room(job);
        } else if let Some(fallen) = self.witnesses.iter_mut().find(|known| !known.stands) {
            *fallen = Witness {
                job: job.clone(),
                stands: true,
            };
        }
    }

    fn read_if_room(&mut self, job: &JobId) {
        let known = self.witnesses.iter().any(|known| known.job == *job);
        if !known && self.witnesses.len() < WITNESSES {
            self.witnesses.push(Witness {
                job: job.clone(),
                stands: true,
            });
        }
    }

    fn refused(&mut self, job: &JobId) {
        let witness = self.witnesses.iter_mut().find(|known| known.job == *job);
        if let Some(witness) = witness {
            witness.stands = false;
        }
    }

    fn others<'a>(&'a self, job: &'a JobId) -> impl Iterator<Item = &'a Witness> {
        self.witnesses
            .iter()
            .filter(move |witness| witness.job != *job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of a story: what was done with the token of a generation.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Read(u64, &'static str),
        Refused(u64, &'static str, Blame),
        Again(u64, u64, &'static str, Blame),
        Vouches(u64, &'static str, bool),
        HasRead(u64, bool),
        Forget(&'static str),
    }

    use Blame::{Credentials, Job, Token};
    use Step::{Again, Forget, HasRead, Read, Refused, Vouches};

    #[track_caller]
    fn told(story: &str, steps: &[Step]) {
        let mut evidence = Evidence::default();
        for (number, step) in steps.iter().enumerate() {
            let id = |text: &str| JobId::parse(text).unwrap();
            let at = format!("{story}, step {number}: {step:?}");
            match *step {
                Read(generation, job) => evidence.read(generation, &id(job)),
                Refused(generation, job, blame) => {
                    assert_eq!(evidence.refused(generation, &id(job)), blame, "{at}");
                }
                Again(first, second, job, blame) => {
                    let found = evidence.refused_again(first, second, &id(job));
                    assert_eq!(found, blame, "{at}");
                }
                Vouches(generation, job, good) => {
                    assert_eq!(evidence.vouches(generation, &id(job)), good, "{at}");
                }
                HasRead(generation, read) => {
                    assert_eq!(evidence.has_read(generation), read, "{at}");
                }
                Forget(job) => evidence.forget(&id(job)),
            }
        }
    }

    #[test]
    fn a_token_that_others_are_read_with_is_good() {
        told(
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
        told(
            "renewed early, it is as good as it was",
            &[Read(1, "a"), Refused(2, "bad", Job), Refused(3, "bad", Job)],
        );
    }

    #[test]
    fn with_a_single_job_a_fresh_token_is_tried_once() {
        told(
            "it helps",
            &[
                Read(1, "a"),
                Refused(1, "a", Token),
                Read(2, "a"),
                Refused(2, "a", Token),
            ],
        );
        told(
            "it does not",
            &[
                Read(1, "a"),
                Refused(1, "a", Token),
                Again(1, 2, "a", Credentials),
                Refused(2, "a", Token),
                Again(2, 3, "a", Credentials),
            ],
        );
        told(
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
    fn a_race_at_the_start_closes_nothing() {
        told(
            "the other is read with the first token, after it was given up",
            &[
                Refused(1, "bad", Token),
                Read(1, "a"),
                Again(1, 2, "bad", Job),
                Refused(2, "bad", Job),
            ],
        );
        told(
            "the other is read with the second",
            &[
                Refused(1, "bad", Token),
                Read(2, "a"),
                Again(1, 2, "bad", Job),
                Refused(2, "bad", Job),
            ],
        );
        told(
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
        told(
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
        told(
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
        told(
            "two, when there are no more",
            &[
                Read(1, "a"),
                Read(1, "b"),
                Refused(1, "a", Job),
                Refused(1, "b", Token),
                Read(2, "b"),
            ],
        );
        told(
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
        told("three bad jobs among good ones", &steps);
    }

    #[test]
    fn something_else_that_is_refused_does_not_cost_a_good_token() {
        told(
            "good",
            &[Read(1, "a"), Vouches(1, "b", true), Refused(1, "b", Job)],
        );
        told(
            "not proven",
            &[
                Read(1, "a"),
                Vouches(1, "a", false),
                Refused(1, "x", Token),
                HasRead(2, false),
            ],
        );
    }

    #[test]
    fn a_token_that_any_job_was_read_with_may_read_jobs() {
        told(
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
