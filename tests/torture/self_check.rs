//! The oracle is tested itself: it accepts good evidence, and complains about each kind of broken evidence.

use crate::course::Course;
use crate::ground::{Poll, Post, Seen};
use crate::oracle;
use crate::tables::{Event, Tables, Transition};
use crate::tracer::{self, Hit};

type Breaking = (&'static str, fn(&mut Seen, &mut Tables));

const JOBS: [&str; 3] = ["one", "two", "three"];

/// What must not pass. `never showed` and so on are words of the complaint.
const BROKEN: [Breaking; 19] = [
    ("damaged", |_, tables| {
        tables.checks[0] = "row 1 missing from index".to_owned();
    }),
    ("was acknowledged and is lost", |_, tables| {
        drop(tables.jobs.remove(1));
    }),
    ("was sent and is lost", |_, tables| {
        drop(tables.events.pop());
    }),
    ("as another one than is recorded", |_, tables| {
        tables.events[1].sequence += 1;
    }),
    ("with other bytes than are recorded", |_, tables| {
        tables.events[2].body.push(' ');
    }),
    ("have a gap at", |_, tables| {
        drop(tables.transitions.remove(1));
    }),
    ("which the API never showed", |seen, _| {
        seen.polls[1].shown = None;
    }),
    ("went back to stage", |_, tables| {
        tables.transitions.swap_stages();
    }),
    ("is recorded, not", |_, tables| {
        tables.transitions[0].to = "success".to_owned();
    }),
    ("the events of", |_, tables| drop(tables.events.remove(0))),
    ("has not one event for each", |_, tables| {
        drop(tables.transitions.pop());
    }),
    ("or goes on after its end", |_, tables| {
        let again = Event {
            sequence: tables.events.last().map_or(0, |last| last.sequence + 1),
            ..tables.events[tables.events.len() - 1].clone()
        };
        tables.events.push(again);
    }),
    ("a signature that is not valid", |seen, _| {
        seen.posts[0].is_signed = false;
    }),
    ("with two bodies", |seen, _| {
        let again = Post {
            body: b"{}".to_vec(),
            start: 2,
            ..seen.posts[0].clone()
        };
        seen.posts.push(again);
    }),
    ("were in flight at once", |seen, _| {
        seen.polls[0].ended = Some(u64::MAX);
    }),
    ("was sent again after it was accepted", |seen, _| {
        let again = Post {
            began: seen.now + 1,
            ended: Some(seen.now + 2),
            ..seen.posts[0].clone()
        };
        seen.posts.push(again);
    }),
    ("was sent before event", |seen, _| {
        seen.posts[0].status = 500;
    }),
    ("was polled after its end", |seen, _| {
        let again = Poll {
            began: seen.now + 1,
            ended: Some(seen.now + 2),
            ..seen.polls[0].clone()
        };
        seen.polls.push(again);
    }),
    ("was never accepted", |seen, _| {
        let last = seen.posts.len() - 1;
        seen.posts[last].ended = None;
    }),
];

/// Answers how many kinds of broken evidence were found.
///
/// # Panics
/// When the oracle refuses good evidence, or accepts broken evidence.
pub(crate) fn run() -> usize {
    let (seen, tables) = evidence();
    let complaints = oracle::finally(&seen, &tables);
    assert!(
        complaints.is_empty(),
        "good evidence is refused: {complaints:#?}"
    );
    for (words, spoil) in BROKEN {
        let (mut seen, mut tables) = evidence();
        spoil(&mut seen, &mut tables);
        let complaints = oracle::finally(&seen, &tables);
        assert!(
            complaints.iter().any(|each| each.contains(words)),
            "not found: {words}: {complaints:#?}"
        );
    }
    faults_are_distinguished();
    BROKEN.len()
}

/// A strace log up to a fault, what the fault has hit, and how many writes came after it.
const TRACES: [(&str, Hit, usize); 6] = [
    (
        "7  pwrite64(3</a/jobs.db-wal>, \"\", 24, 0) = 24\n7  fsync(3</a/jobs.db-wal>) = -1 EIO (INJECTED)\n",
        Hit::Commit,
        0,
    ),
    (
        "7  fsync(3</a/jobs.db-wal> <unfinished ...>\n8  fsync(4</a/jobs.db>) = 0\n\
         7  <... fsync resumed>) = -1 EIO (INJECTED)\n7  pwrite64(3</a/jobs.db-wal>, \"\", 24, 0) = 24\n",
        Hit::Commit,
        1,
    ),
    (
        "7  fsync(3</a/jobs.db-wal>) = 0\n7  fsync(3</a/jobs.db-wal>) = -1 EIO (INJECTED)\n",
        Hit::Unreported,
        0,
    ),
    (
        "7  fsync(3</a/jobs.db-wal>) = 0\n7  fsync(9</a>) = -1 EIO (INJECTED)\n",
        Hit::Unreported,
        0,
    ),
    (
        "7  fsync(3</a/jobs.db-wal>) = 0\n7  pwrite64(4</a/jobs.db-shm>, \"\", 1, 8191) = 1\n\
         7  fsync(3</a/jobs.db-wal>) = -1 EIO (INJECTED)\n",
        Hit::Unreported,
        0,
    ),
    (
        "7  pwrite64(5</var/tmp/x>(deleted), \"\", 4, 0) = -1 EIO (INJECTED)\n",
        Hit::Other,
        0,
    ),
];

fn faults_are_distinguished() {
    for (log, hit, writes) in TRACES {
        assert_eq!(tracer::first_fault(log), Some((hit, writes)), "{log}");
    }
    assert_eq!(
        tracer::first_fault("7  fsync(3</a/jobs.db-wal>) = 0\n"),
        None
    );
}

trait Stages {
    fn swap_stages(&mut self);
}

impl Stages for Vec<Transition> {
    /// Lets the first job's history run backwards.
    fn swap_stages(&mut self) {
        let job = self[0].job.clone();
        let mut updated: Vec<String> = self
            .iter()
            .filter(|each| each.job == job)
            .map(|each| each.updated.clone())
            .collect();
        updated.reverse();
        for (each, updated) in self.iter_mut().filter(|each| each.job == job).zip(updated) {
            each.updated = updated;
        }
    }
}

/// What a daemon without fault does with three jobs, each of whose stages it sees.
fn evidence() -> (Seen, Tables) {
    let (mut seen, mut tables) = (Seen::default(), Tables::default());
    tables.checks.push("ok".to_owned());
    for id in JOBS {
        let course = Course::of(id);
        let mut sequence = 0;
        for stage in 0..course.stages.len() {
            seen.polls.push(Poll {
                job: id.to_owned(),
                start: 1,
                began: seen.now + 1,
                ended: Some(seen.now + 2),
                shown: Some(stage),
            });
            seen.now += 2;
            for (title, from, to) in course.changes(stage.checked_sub(1), stage) {
                sequence += 1;
                let updated = Course::updated(stage);
                tables.transitions.push(Transition {
                    job: id.to_owned(),
                    seq: sequence,
                    title,
                    from,
                    to,
                    updated,
                });
                let body = format!(r#"{{"data":{{"transition":{{"seq":{sequence}}}}}}}"#);
                happen(
                    &mut seen,
                    &mut tables,
                    id,
                    sequence,
                    "job.step_changed",
                    body,
                );
            }
        }
        let kind = if course.end() == "success" {
            "job.completed"
        } else {
            "job.failed"
        };
        happen(
            &mut seen,
            &mut tables,
            id,
            sequence + 1,
            kind,
            "{}".to_owned(),
        );
        tables.jobs.push((id.to_owned(), course.end().to_owned()));
        seen.acknowledged.insert(id.to_owned());
    }
    (seen, tables)
}

/// An event that is recorded, and accepted at the first attempt.
fn happen(
    seen: &mut Seen,
    tables: &mut Tables,
    job: &str,
    sequence: i64,
    kind: &str,
    body: String,
) {
    let id = format!("{job}-{sequence}");
    seen.posts.push(Post {
        id: id.clone(),
        job: job.to_owned(),
        sequence: sequence.unsigned_abs(),
        kind: kind.to_owned(),
        body: body.clone().into_bytes(),
        is_signed: true,
        start: 1,
        began: seen.now + 1,
        ended: Some(seen.now + 2),
        status: 204,
    });
    seen.now += 2;
    tables.events.push(Event {
        id,
        job: job.to_owned(),
        sequence,
        kind: kind.to_owned(),
        body,
        delivery: Some("delivered".to_owned()),
    });
}
