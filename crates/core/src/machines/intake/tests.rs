use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::cadence::Progress;
use crate::job::JobState;
use crate::time::UnixMillis;

/// `version` counts the changes of the row; it stands in a column that the test has for itself.
fn row(id: &str, version: i64, poll_requested: bool) -> JobRow {
    JobRow {
        id: JobId::parse(id).unwrap(),
        url: None,
        webhook: None,
        priority: version,
        deadline_at: None,
        not_before: None,
        cancel_requested: false,
        poll_requested,
        state: JobState::Pending,
        progress: Progress::default(),
        next_poll_at: None,
        created_at: UnixMillis(0),
        is_blank: true,
    }
}

fn page(rows: &[(i64, &str)]) -> Answer {
    let change = |(number, id): &(i64, &str)| JobChange {
        number: *number,
        job: (!id.is_empty()).then(|| row(id, 0, id.starts_with("now"))),
    };
    Answer::Page(rows.iter().map(change).collect())
}

fn requests(counts: &[(&str, i64)]) -> Answer {
    let each = |(name, count): &(&str, i64)| (WebhookName::new(name), *count);
    Answer::Requests(counts.iter().map(each).collect())
}

fn rows(ids: &[&str]) -> Vec<JobRow> {
    let each = |id: &&str| row(id, 0, id.starts_with("now"));
    ids.iter().map(each).collect()
}

fn ids(ids: &[&str]) -> Vec<JobId> {
    ids.iter().map(|id| JobId::parse(id).unwrap()).collect()
}

/// Each query is answered; each other effect is what comes next.
#[track_caller]
fn check(intake: &mut Intake, steps: Vec<(Effect, Option<Answer>)>) {
    for (expected, answer) in steps {
        assert_eq!(intake.step(), expected);
        if let Some(answer) = answer {
            intake.answer(answer);
        }
    }
}

fn ask(query: Query, answer: Answer) -> (Effect, Option<Answer>) {
    (Effect::Query(query), Some(answer))
}

fn started() -> Intake {
    let mut intake = Intake::default();
    check(
        &mut intake,
        vec![
            ask(Query::Watch, Answer::Watching),
            ask(Query::NewestChange, Answer::Number(7)),
            ask(Query::WebhookRequests, requests(&[("w", 1)])),
            // Its dispatcher may have read it before.
            (Effect::Wake(WebhookName::new("w")), None),
            ask(Query::UpstreamResumes, Answer::Number(3)),
            ask(Query::ActiveJobs(i64::MIN), page(&[])),
            (Effect::Adopted(0), None),
        ],
    );
    intake
}

#[test]
fn the_watcher_and_the_newest_number_come_before_the_backlog_which_is_read_in_pages() {
    let mut intake = Intake::default();
    check(
        &mut intake,
        vec![
            ask(Query::Watch, Answer::Watching),
            ask(Query::NewestChange, Answer::Number(7)),
            ask(Query::WebhookRequests, requests(&[])),
            ask(Query::UpstreamResumes, Answer::Number(0)),
            ask(
                Query::ActiveJobs(i64::MIN),
                page(&[(-3, "a"), (2, "now-b"), (4, "")]),
            ),
            (Effect::Send(Notice::Backlog(rows(&["a", "now-b"]))), None),
            ask(Query::ActiveJobs(4), page(&[(9, "")])),
            ask(Query::ActiveJobs(9), page(&[(10, "c")])),
            (Effect::Send(Notice::Backlog(rows(&["c"]))), None),
            ask(Query::ActiveJobs(10), page(&[])),
            (Effect::PollRequestsTaken(ids(&["now-b"]), 7), None),
            (Effect::Adopted(3), None),
            ask(Query::SawCommit, Answer::Committed(false)),
            (Effect::Wait, None),
            ask(Query::SawCommit, Answer::Committed(true)),
            ask(Query::Changes(7), page(&[])),
        ],
    );
}

#[test]
fn changes_are_forgotten_only_after_the_last_page_and_requests_only_once_the_poller_has_the_rows() {
    let mut intake = started();
    check(
        &mut intake,
        vec![
            ask(Query::SawCommit, Answer::Committed(true)),
            ask(Query::Changes(7), page(&[(8, "now-a"), (12, "b")])),
            (Effect::Send(Notice::Rows(rows(&["now-a", "b"]))), None),
            ask(Query::Changes(12), page(&[(13, "")])),
            ask(Query::Changes(13), page(&[])),
            (Effect::PollRequestsTaken(ids(&["now-a"]), 13), None),
            (Effect::ChangesSeen(13), None),
            ask(Query::WebhookRequests, requests(&[("w", 1)])),
            ask(Query::UpstreamResumes, Answer::Number(3)),
            (Effect::Wait, None),
            ask(Query::SawCommit, Answer::Committed(true)),
            ask(Query::Changes(13), page(&[])),
            ask(Query::WebhookRequests, requests(&[("w", 1)])),
        ],
    );
}

#[test]
fn a_webhook_is_woken_for_each_new_request_and_the_api_resumed_once_for_each_pause_that_was_ended()
{
    let mut intake = started();
    let woken = |name| (Effect::Wake(WebhookName::new(name)), None);
    for (counts, resumes, effects) in [
        (
            requests(&[("new", 1), ("w", 2)]),
            3,
            vec![woken("new"), woken("w")],
        ),
        (
            requests(&[("new", 1), ("zero", 0)]),
            4,
            vec![(Effect::Resume, None)],
        ),
        (requests(&[("w", 2)]), 4, vec![woken("w")]),
    ] {
        let mut steps = vec![
            ask(Query::SawCommit, Answer::Committed(true)),
            ask(Query::Changes(7), page(&[])),
            ask(Query::WebhookRequests, counts),
        ];
        let resume = effects
            .iter()
            .position(|(effect, _)| *effect == Effect::Resume);
        let woken = resume.unwrap_or(effects.len());
        steps.extend_from_slice(&effects[..woken]);
        steps.push(ask(Query::UpstreamResumes, Answer::Number(resumes)));
        steps.extend_from_slice(&effects[woken..]);
        steps.push((Effect::Wait, None));
        check(&mut intake, steps);
    }
}

#[test]
fn an_answer_to_another_query_changes_nothing() {
    let mut intake = Intake::default();
    intake.answer(Answer::Number(7));
    intake.answer(page(&[(1, "a")]));
    assert_eq!(intake.step(), Effect::Query(Query::Watch));
}

/// What another program does.
#[derive(Debug, Clone, Copy)]
enum Foreign {
    Insert(usize, bool),
    Update(usize, bool),
    Delete(usize),
    Request(usize),
    Resume,
}

fn foreign() -> impl Strategy<Value = Foreign> {
    prop_oneof![
        4 => (0..8usize, any::<bool>()).prop_map(|(job, requested)| Foreign::Insert(job, requested)),
        3 => (0..8usize, any::<bool>()).prop_map(|(job, requested)| Foreign::Update(job, requested)),
        3 => (0..8usize).prop_map(Foreign::Delete),
        1 => (0..2usize).prop_map(Foreign::Request),
        1 => Just(Foreign::Resume),
    ]
}

/// The tables: rows whose numbers are used again, and a log whose numbers are not.
#[derive(Default)]
struct Tables {
    jobs: BTreeMap<i64, JobRow>,
    log: BTreeMap<i64, String>,
    last: i64,
    requests: BTreeMap<WebhookName, i64>,
    resumes: i64,
    /// Commits of others, and those that the watcher has seen.
    commits: u64,
    seen: u64,
    version: i64,
    /// The version of the last request to poll that the poller does not have.
    asked: BTreeMap<JobId, i64>,
}

impl Tables {
    fn find(&self, id: &str) -> Option<i64> {
        let found = self.jobs.iter().find(|(_, row)| row.id.as_str() == id);
        found.map(|(number, _)| *number)
    }

    fn apply(&mut self, foreign: Foreign) {
        self.version += 1;
        self.commits += 1;
        let name = |job: usize| format!("j{job}");
        match foreign {
            Foreign::Insert(job, requested) => {
                if self.find(&name(job)).is_none() {
                    let next = self.jobs.last_key_value().map_or(1, |(last, _)| last + 1);
                    let row = row(&name(job), self.version, requested);
                    self.jobs.insert(next, row);
                    self.note(&name(job));
                }
            }
            Foreign::Update(job, requested) => {
                if let Some(number) = self.find(&name(job)) {
                    self.jobs
                        .insert(number, row(&name(job), self.version, requested));
                    self.note(&name(job));
                }
            }
            Foreign::Delete(job) => {
                if let Some(number) = self.find(&name(job)) {
                    self.jobs.remove(&number);
                    self.note(&name(job));
                }
            }
            Foreign::Request(webhook) => {
                let name = WebhookName::new(&format!("w{webhook}"));
                *self.requests.entry(name).or_default() += 1;
            }
            Foreign::Resume => self.resumes += 1,
        }
    }

    /// Resets a request, as the writer does.
    fn take_request(&mut self, id: &JobId, seen: i64) {
        let mut unread = self.log.range(seen + 1..);
        if unread.all(|(_, changed)| changed != id.as_str())
            && let Some(row) = self.find(id.as_str()).and_then(|at| self.jobs.get_mut(&at))
        {
            row.poll_requested = false;
        }
    }

    fn note(&mut self, id: &str) {
        let row = self.find(id).and_then(|at| self.jobs.get(&at));
        match row.filter(|row| row.poll_requested) {
            Some(row) => self.asked.insert(row.id.clone(), row.priority),
            None => self.asked.remove(&JobId::parse(id).unwrap()),
        };
        self.last += 1;
        self.log.insert(self.last, id.to_owned());
    }

    fn answer(&mut self, query: Query, page: usize) -> Answer {
        let change = |number: &i64, row: Option<&JobRow>| JobChange {
            number: *number,
            job: row.cloned(),
        };
        match query {
            Query::Watch => {
                self.seen = self.commits;
                Answer::Watching
            }
            Query::NewestChange => Answer::Number(self.last),
            Query::WebhookRequests => Answer::Requests(self.requests.clone()),
            Query::UpstreamResumes => Answer::Number(self.resumes),
            Query::ActiveJobs(after) => {
                let rows = self.jobs.iter().filter(|(number, _)| **number > after);
                let rows = rows.map(|(number, row)| change(number, Some(row)));
                Answer::Page(rows.take(page).collect())
            }
            Query::Changes(after) => {
                let log = self.log.iter().filter(|(number, _)| **number > after);
                let rows = log.map(|(number, id)| {
                    let row = self.find(id).and_then(|at| self.jobs.get(&at));
                    change(number, row)
                });
                Answer::Page(rows.take(page).collect())
            }
            Query::SawCommit => {
                Answer::Committed(self.commits != std::mem::replace(&mut self.seen, self.commits))
            }
        }
    }
}

/// What the poller, the writer and the dispatchers got, and what they wait for.
#[derive(Default)]
struct Got {
    /// The version of each row.
    rows: BTreeMap<JobId, i64>,
    /// The last change that was read.
    read: i64,
    poll_requests: Vec<JobId>,
    /// Whether changes of the pauses that operators end are seen.
    begun: bool,
    unwoken: BTreeSet<WebhookName>,
    unresumed: bool,
}

impl Got {
    fn perform(&mut self, effect: Effect, tables: &mut Tables) {
        match effect {
            Effect::Send(notice) => {
                for row in notice.rows() {
                    let earlier = self.rows.insert(row.id.clone(), row.priority);
                    assert!(earlier <= Some(row.priority), "rows never go back");
                    let requested = row.poll_requested.then(|| row.id.clone());
                    if requested.is_some() && tables.asked.get(&row.id) <= Some(&row.priority) {
                        tables.asked.remove(&row.id);
                    }
                    self.poll_requests.extend(requested);
                }
            }
            Effect::PollRequestsTaken(jobs, seen) => {
                let sent = std::mem::take(&mut self.poll_requests);
                assert_eq!(jobs, sent, "the poller has them");
                for id in jobs {
                    tables.take_request(&id, seen);
                }
            }
            Effect::ChangesSeen(newest) => {
                assert!(newest <= self.read);
                tables.log.retain(|number, _| *number > newest);
            }
            Effect::Wake(webhook) => {
                self.unwoken.remove(&webhook);
            }
            Effect::Resume => self.unresumed = false,
            Effect::Adopted(_) => self.begun = true,
            Effect::Query(_) | Effect::Wait => {}
        }
    }

    fn note(&mut self, foreign: Foreign) {
        match foreign {
            Foreign::Request(webhook) => {
                let name = WebhookName::new(&format!("w{webhook}"));
                self.unwoken.insert(name);
            }
            Foreign::Resume => self.unresumed |= self.begun,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_row_is_missed_and_nothing_unread_is_forgotten_whatever_others_commit_between_two_effects(
        before in prop::collection::vec(foreign(), 0..12),
        between in prop::collection::vec(prop::collection::vec(foreign(), 0..3), 0..60),
        size in 1..4usize,
    ) {
        let (mut tables, mut intake, mut got) = (Tables::default(), Intake::default(), Got::default());
        before.into_iter().for_each(|foreign| tables.apply(foreign));
        let (mut between, mut waits) = (between.into_iter(), 0);
        while waits < 2 {
            let effect = intake.step();
            waits += usize::from(effect == Effect::Wait);
            if let Effect::Query(query) = effect {
                let answer = tables.answer(query, size);
                if let (Query::Changes(_), Answer::Page(page)) = (query, &answer) {
                    got.read = page.last().map_or(got.read, |last| last.number);
                }
                intake.answer(answer);
            } else {
                got.perform(effect, &mut tables);
            }
            for foreign in between.next().unwrap_or_default() {
                waits = 0;
                tables.apply(foreign);
                got.note(foreign);
            }
        }
        for row in tables.jobs.values() {
            prop_assert_eq!(got.rows.get(&row.id), Some(&row.priority), "{:?}", row.id);
        }
        prop_assert!(tables.asked.is_empty(), "{:?} are not polled", tables.asked);
        prop_assert!(got.unwoken.is_empty() && !got.unresumed && got.poll_requests.is_empty());
    }
}
