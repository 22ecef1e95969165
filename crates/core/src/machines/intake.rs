//! Which rows are read and in what order, so that none is missed: those in the table at start, and those that other programs
//! insert or change.
//!
//! The watcher and the number of the newest change come first, then the backlog, so that commits while that is read are
//! noticed too. Changes are forgotten only when all pages up to them were handed over.

use std::collections::{BTreeMap, VecDeque};

use crate::delivery::WebhookName;
use crate::job::JobId;
use crate::rows::{JobChange, JobRow};

/// Most rows read at once.
pub const PAGE: u32 = 500;

/// A message to the poller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Rows that are new or have changed.
    Rows(Vec<JobRow>),
    /// Rows in the table at start; the polls of overdue ones are spread over a short window.
    Backlog(Vec<JobRow>),
}

impl Notice {
    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[JobRow] {
        match self {
            Self::Rows(rows) | Self::Backlog(rows) => rows,
        }
    }
}

/// A question to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Begin to watch for commits of others. Answered by [`Answer::Watching`].
    Watch,
    /// The number of the newest change. Answered by [`Answer::Number`].
    NewestChange,
    /// How many requests operators have made so far. Answered by [`Answer::Requests`].
    WebhookRequests,
    /// How many pauses of the API operators have ended so far. Answered by [`Answer::Number`].
    UpstreamResumes,
    /// At most [`PAGE`] jobs that have not ended, by the number of their row, beyond this one. Answered by
    /// [`Answer::Page`].
    ActiveJobs(i64),
    /// At most [`PAGE`] changes beyond this number. Answered by [`Answer::Page`].
    Changes(i64),
    /// Whether another connection has committed anything since the last time. Answered by [`Answer::Committed`]; "no" when
    /// that cannot be read now, since it is asked again at the next tick.
    SawCommit,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Commits from now on are seen.
    Watching,
    /// A number.
    Number(i64),
    /// Per webhook.
    Requests(BTreeMap<WebhookName, i64>),
    /// Rows, in order; empty at the end.
    Page(Vec<JobChange>),
    /// Whether there was a commit.
    Committed(bool),
}

/// What is to be done before [`Intake::step`] is called again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the database, then call [`Intake::answer`].
    Query(Query),
    /// Send the rows to the poller.
    Send(Notice),
    /// Have `poll_requested` of these jobs reset: the poller has their rows. Not of those that have changed after the change of
    /// this number, the newest that was read: that may be another request.
    PollRequestsTaken(Vec<JobId>, i64),
    /// Have the changes up to this number deleted: the poller has the rows of all.
    ChangesSeen(i64),
    /// The backlog is complete; so many jobs were in it.
    Adopted(u64),
    /// An operator has requested something of this webhook: enabled, disabled, or events replayed.
    Wake(WebhookName),
    /// An operator has ended the pause that the API had asked for.
    Resume,
    /// Wait for the next tick, or until this process itself has inserted or changed a row.
    Wait,
}

/// The order of reading.
#[derive(Debug)]
pub struct Intake {
    phase: Phase,
    effects: VecDeque<Effect>,
    /// The newest change that was read.
    newest: i64,
    /// The newest change that was read before this round.
    before: i64,
    /// Jobs whose requested poll was noticed in this round.
    requested: Vec<JobId>,
    requests: BTreeMap<WebhookName, i64>,
    resumes: i64,
}

/// Most jobs whose `poll_requested` is reset by one change of the writer's.
const TAKEN_AT_ONCE: usize = 500;

/// What is read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Watch,
    NewestChange,
    FirstRequests,
    FirstResumes,
    Backlog {
        after: i64,
        /// In the pages so far.
        jobs: u64,
    },
    /// Between two rounds.
    Commits,
    Changes,
    Requests,
    Resumes,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            phase: Phase::Watch,
            effects: VecDeque::new(),
            newest: 0,
            before: 0,
            requested: Vec::new(),
            requests: BTreeMap::new(),
            resumes: 0,
        }
    }
}

impl Intake {
    /// What is to be done next.
    #[must_use]
    pub fn step(&mut self) -> Effect {
        let query = match self.phase {
            Phase::Watch => Query::Watch,
            Phase::NewestChange => Query::NewestChange,
            Phase::FirstRequests | Phase::Requests => Query::WebhookRequests,
            Phase::FirstResumes | Phase::Resumes => Query::UpstreamResumes,
            Phase::Backlog { after, .. } => Query::ActiveJobs(after),
            Phase::Commits => Query::SawCommit,
            Phase::Changes => Query::Changes(self.newest),
        };
        let waits = self.effects.pop_front();
        waits.unwrap_or(Effect::Query(query))
    }

    /// Takes the answer to the last query. One to another query is ignored, and the query repeated.
    pub fn answer(&mut self, answer: Answer) {
        match (self.phase, answer) {
            (Phase::Watch, Answer::Watching) => self.phase = Phase::NewestChange,
            (Phase::NewestChange, Answer::Number(newest)) => {
                self.newest = newest;
                self.phase = Phase::FirstRequests;
            }
            (Phase::FirstRequests, Answer::Requests(requests)) => {
                // A dispatcher may have read its webhook before the last of these requests.
                for name in requests.keys() {
                    self.effects.push_back(Effect::Wake(name.clone()));
                }
                self.requests = requests;
                self.phase = Phase::FirstResumes;
            }
            (Phase::FirstResumes, Answer::Number(resumes)) => {
                self.resumes = resumes;
                // Another program may insert a row with a negative number.
                let (after, jobs) = (i64::MIN, 0);
                self.phase = Phase::Backlog { after, jobs };
            }
            (Phase::Backlog { jobs, .. }, Answer::Page(page)) => self.backlog(page, jobs),
            (Phase::Commits, Answer::Committed(true)) => {
                self.before = self.newest;
                self.phase = Phase::Changes;
            }
            (Phase::Commits, Answer::Committed(false)) => self.effects.push_back(Effect::Wait),
            (Phase::Changes, Answer::Page(page)) => self.changes(page),
            (Phase::Requests, Answer::Requests(requests)) => {
                for (name, count) in &requests {
                    if self.requests.get(name).unwrap_or(&0) != count {
                        self.effects.push_back(Effect::Wake(name.clone()));
                    }
                }
                self.requests = requests;
                self.phase = Phase::Resumes;
            }
            (Phase::Resumes, Answer::Number(resumes)) => {
                if std::mem::replace(&mut self.resumes, resumes) != resumes {
                    self.effects.push_back(Effect::Resume);
                }
                self.effects.push_back(Effect::Wait);
                self.phase = Phase::Commits;
            }
            _ => {}
        }
    }

    fn backlog(&mut self, page: Vec<JobChange>, before: u64) {
        let Some(last) = page.last() else {
            self.take_requests();
            self.effects.push_back(Effect::Adopted(before));
            self.phase = Phase::Commits;
            return;
        };
        let after = last.number;
        let jobs = before + self.send(page, Notice::Backlog);
        self.phase = Phase::Backlog { after, jobs };
    }

    fn changes(&mut self, page: Vec<JobChange>) {
        let Some(last) = page.last() else {
            self.take_requests();
            if self.newest > self.before {
                self.effects.push_back(Effect::ChangesSeen(self.newest));
            }
            self.phase = Phase::Requests;
            return;
        };
        self.newest = last.number;
        self.send(page, Notice::Rows);
    }

    /// Returns the number of rows.
    fn send(&mut self, page: Vec<JobChange>, notice: fn(Vec<JobRow>) -> Notice) -> u64 {
        let rows: Vec<JobRow> = page.into_iter().filter_map(|change| change.job).collect();
        let requested = rows.iter().filter(|row| row.poll_requested);
        self.requested.extend(requested.map(|row| row.id.clone()));
        let count = rows.len() as u64;
        if !rows.is_empty() {
            self.effects.push_back(Effect::Send(notice(rows)));
        }
        count
    }

    /// Only when all changes were read are there few after the newest, among which each of these jobs is looked for.
    fn take_requests(&mut self) {
        for jobs in std::mem::take(&mut self.requested).chunks(TAKEN_AT_ONCE) {
            let taken = Effect::PollRequestsTaken(jobs.to_vec(), self.newest);
            self.effects.push_back(taken);
        }
    }
}

#[cfg(test)]
mod tests;
