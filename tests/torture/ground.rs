//! The ground truth: every request that the API and the receiver got, in one order. The program under test has no part in it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::course::Course;

/// A request to the API.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    pub(crate) job: String,
    /// Which start of the daemon sent it.
    pub(crate) start: u32,
    pub(crate) began: u64,
    /// When its answer went out; `None` when nobody was there any more.
    pub(crate) ended: Option<u64>,
    /// The stage that was shown; `None` for an error.
    pub(crate) shown: Option<usize>,
}

/// A request to the receiver.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) sequence: u64,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_signed: bool,
    pub(crate) start: u32,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) status: u16,
}

impl Post {
    /// Whether its sender was given a 2xx.
    pub(crate) fn is_accepted(&self) -> bool {
        self.ended.is_some() && (200..300).contains(&self.status)
    }
}

/// What was seen so far. `began` and `ended` are numbers of one sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) now: u64,
    pub(crate) polls: Vec<Poll>,
    pub(crate) posts: Vec<Post>,
    /// Jobs whose row was committed, by the word of the program that inserted it.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Texts that must be neither in the database nor in a log.
    pub(crate) secrets: BTreeSet<String>,
    stages: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Ground(Mutex<Seen>);

impl Seen {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

impl Ground {
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().clone()
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.lock().polls.len()
    }

    pub(crate) fn posts(&self) -> usize {
        self.0.lock().posts.len()
    }

    pub(crate) fn acknowledge(&self, job: String) {
        self.0.lock().acknowledged.insert(job);
    }

    pub(crate) fn keep_secret(&self, text: &str) {
        self.0.lock().secrets.insert(text.to_owned());
    }

    /// Records a poll, and answers its number and what is to be shown; `None` for an error. The job goes on by `steps` stages.
    pub(crate) fn polled(
        &self,
        job: &str,
        start: u32,
        fails: bool,
        steps: usize,
    ) -> (usize, Option<String>) {
        let course = Course::of(job);
        let mut seen = self.0.lock();
        let began = seen.tick();
        let stage = seen.stages.get(job).copied().unwrap_or(0);
        let shown = (!fails).then_some(stage);
        if !fails {
            let next = (stage + steps).min(course.last());
            seen.stages.insert(job.to_owned(), next);
        }
        seen.polls.push(Poll {
            job: job.to_owned(),
            start,
            began,
            ended: None,
            shown,
        });
        (seen.polls.len() - 1, shown.map(|stage| course.body(stage)))
    }

    pub(crate) fn answered(&self, poll: usize) {
        let mut seen = self.0.lock();
        let now = seen.tick();
        seen.polls[poll].ended = Some(now);
    }

    pub(crate) fn posted(&self, mut post: Post) -> usize {
        let mut seen = self.0.lock();
        post.began = seen.tick();
        seen.posts.push(post);
        seen.posts.len() - 1
    }

    pub(crate) fn replied(&self, post: usize) {
        let mut seen = self.0.lock();
        let now = seen.tick();
        seen.posts[post].ended = Some(now);
    }
}
