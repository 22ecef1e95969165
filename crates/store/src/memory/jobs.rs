//! Jobs one by one, for the tracker, the commands and the status server.

use std::collections::BTreeMap;

use jobtrackd_core::delivery::{Attempt, WebhookName};
use jobtrackd_core::job::{JobId, JobState};
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::rows::JobRow;
use jobtrackd_core::snapshot::StepClass;
use jobtrackd_core::time::UnixMillis;

use super::enqueue::refusal;
use super::rows::Job;
use super::store::Store;
use super::tables::{Request, Tables, refused};
use crate::{
    Enqueued, JobChallenge, JobDetail, JobResource, JobSummary, Jobs, NewJob, Result, StoreError,
    TransitionRow,
};

impl Jobs for Store {
    async fn tracked(&self, id: &JobId) -> Result<Option<Tracked>> {
        self.read(|tables| {
            let Some(job) = tables.jobs.get(id) else {
                return Ok(None);
            };
            let last = tables.transitions_of(id).next_back();
            let last_event = tables.events_of(id).next_back();
            let steps = tables.steps_of(id).into_iter();
            Ok(Some(Tracked {
                id: id.clone(),
                state: job.row.state,
                revision: job.revision,
                created_at: job.row.created_at,
                metadata: job.metadata.clone(),
                resource: job.resource(),
                remote_updated: job.remote_updated.clone(),
                steps: steps.map(|each| each.step.clone()).collect(),
                last_seq: last.map_or(0, |last| last.seq),
                last_sequence: last_event.map_or(0, |event| event.sequence),
                event_bytes: job.event_bytes,
                limited: job.row.progress.limited,
            }))
        })
    }

    async fn all_tracked(&self, ids: &[JobId]) -> Result<Vec<Result<Option<Tracked>>>> {
        let mut jobs = Vec::new();
        for id in ids {
            jobs.push(self.tracked(id).await);
        }
        Ok(jobs)
    }

    async fn all_jobs(&self, ids: &[JobId]) -> Result<Vec<Result<Option<JobRow>>>> {
        let mut rows = Vec::new();
        for id in ids {
            rows.push(self.job(id).await);
        }
        Ok(rows)
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRow>> {
        self.read(|tables| Ok(tables.jobs.get(id).map(|job| job.row.clone())))
    }

    async fn resource(&self, id: &JobId) -> Result<Option<JobResource>> {
        self.read(|tables| {
            Ok(tables.jobs.get(id).map(|job| JobResource {
                state: job.row.state,
                resource: job.resource(),
            }))
        })
    }

    async fn summary(&self, id: &JobId) -> Result<Option<JobSummary>> {
        self.read(|tables| {
            let job = tables.jobs.get(id);
            Ok(job.map(|job| job.summary(tables.step_rows(id))))
        })
    }

    async fn challenge(&self, id: &JobId) -> Result<Option<JobChallenge>> {
        self.read(|tables| {
            let mut steps = tables.step_rows(id);
            steps.retain(|step| step.class == StepClass::Waiting);
            Ok(tables.jobs.get(id).map(|job| JobChallenge {
                state: job.row.state,
                user: job.remote_user.clone(),
                steps,
            }))
        })
    }

    async fn detail(&self, id: &JobId) -> Result<Option<JobDetail>> {
        self.read(|tables| Ok(tables.jobs.get(id).map(|job| tables.detail(job))))
    }

    async fn enqueue(&self, job: &NewJob) -> Result<bool> {
        self.write(|tables, now| tables.insert_job(job, now))
    }

    async fn enqueue_all(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        self.write(|tables, now| {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                // A refused row has changed nothing, so the transaction goes on.
                outcomes.push(match tables.insert_job(job, now) {
                    Ok(true) => Enqueued::New,
                    Ok(false) => Enqueued::Exists,
                    Err(StoreError::Refused(reason)) => Enqueued::Refused(reason),
                    Err(error) => return Err(error),
                });
            }
            Ok(outcomes)
        })
    }

    async fn request_cancel(&self, id: &JobId) -> Result<Option<bool>> {
        self.write(|tables, _| Ok(tables.request_of_unfinished(id, Request::Cancel)))
    }

    async fn request_cancel_of_all(&self, ids: &[JobId]) -> Result<Vec<JobId>> {
        self.write(|tables, _| {
            let mut cancel =
                |id: &&JobId| tables.request_of_unfinished(id, Request::Cancel) == Some(true);
            Ok(ids.iter().filter(|id| cancel(id)).cloned().collect())
        })
    }

    async fn request_poll(&self, id: &JobId) -> Result<Option<bool>> {
        self.write(|tables, _| Ok(tables.request_of_unfinished(id, Request::Poll)))
    }

    async fn unknown_webhooks(&self, known: &[WebhookName]) -> Result<Vec<(String, u64)>> {
        self.read(|tables| {
            let mut unknown: BTreeMap<&str, u64> = BTreeMap::new();
            for job in tables.jobs.values().filter(|job| !job.has_ended()) {
                let name = job.row.webhook.as_deref();
                let is_unknown = |name: &&str| known.iter().all(|known| known.as_str() != *name);
                if let Some(name) = name.filter(is_unknown) {
                    *unknown.entry(name).or_default() += 1;
                }
            }
            let unknown = unknown.into_iter();
            Ok(unknown
                .map(|(name, jobs)| (name.to_owned(), jobs))
                .collect())
        })
    }
}

impl Tables {
    /// Inserts a job's row; `false` when there is one with its id.
    pub(super) fn insert_job(&mut self, job: &NewJob, created_at: UnixMillis) -> Result<bool> {
        if JobId::parse(&job.id).is_ok_and(|id| self.jobs.contains(&id)) {
            return Ok(false);
        }
        if let Some(rule) = refusal(job) {
            return refused(rule);
        }
        let Ok(id) = JobId::parse(&job.id) else {
            return Ok(false);
        };
        let number = self.numbered.keys().next_back().map_or(1, |last| last + 1);
        let row = Job {
            number,
            row: JobRow {
                id: id.clone(),
                url: job.url.clone(),
                webhook: job.webhook.clone(),
                priority: job.priority,
                deadline_at: job.deadline_at,
                not_before: job.not_before,
                cancel_requested: false,
                poll_requested: false,
                state: JobState::Pending,
                progress: Default::default(),
                next_poll_at: None,
                created_at,
                is_blank: job.metadata.is_none(),
            },
            metadata: job.metadata.clone(),
            failure: None,
            resource: None,
            remote_updated: None,
            remote_user: None,
            finished_at: None,
            revision: 0,
            event_bytes: 0,
            pruned: 0,
            users: Vec::new(),
        };
        self.numbered.put(number, id.clone());
        self.note_change(&id);
        self.jobs.put(id, row);
        Ok(true)
    }

    fn request_of_unfinished(&mut self, id: &JobId, request: Request) -> Option<bool> {
        let ended = self.jobs.get(id)?.has_ended();
        if !ended {
            self.request(id, request);
        }
        Some(!ended)
    }

    fn detail(&self, job: &Job) -> JobDetail {
        let id = &job.row.id;
        let transitions = self.transitions_of(id).map(|each| TransitionRow {
            result: None,
            ..each.clone()
        });
        let mut attempts: Vec<(u32, &Attempt)> = Vec::new();
        for event in self.events_of(id) {
            let at_event = self.attempts_at(&event.id);
            attempts.extend(at_event.map(|attempt| (event.sequence, attempt)));
        }
        attempts.sort_by_key(|(sequence, each)| (each.started_at, *sequence, each.number));
        let attempts = attempts.into_iter().map(|(_, attempt)| Attempt {
            answer: None,
            ..attempt.clone()
        });
        JobDetail {
            summary: job.summary(self.step_rows(id)),
            resource: job.resource(),
            pruned: match job.pruned {
                0 => None,
                1 => Some(Stage::Attempts),
                _ => Some(Stage::Events),
            },
            transitions: transitions.collect(),
            events: self.events_of(id).map(super::rows::Event::row).collect(),
            deliveries: self
                .events_of(id)
                .flat_map(|event| self.rows_of(event))
                .collect(),
            attempts: attempts.collect(),
        }
    }
}
