//! What another program does to the rows.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::store::Store;
use super::tables::{Request, Tables};
use crate::{JobUpdate, NewJob, Outsider, Result};

impl Outsider for Store {
    async fn insert(&mut self, job: &NewJob, created_at: UnixMillis) -> Result<bool> {
        self.write_from_outside(|tables| tables.insert_job(job, created_at))
    }

    async fn update(&mut self, id: &JobId, update: &JobUpdate) -> Result<bool> {
        self.write_from_outside(|tables| {
            if !tables.jobs.contains(id) {
                return Ok(false);
            }
            tables.update_job(id, update)?;
            Ok(true)
        })
    }

    async fn delete(&mut self, id: &JobId) -> Result<bool> {
        self.write_from_outside(|tables| tables.delete_job(id))
    }
}

impl Tables {
    fn update_job(&mut self, id: &JobId, update: &JobUpdate) -> Result<()> {
        match update {
            JobUpdate::Cancel => self.request(id, Request::Cancel),
            JobUpdate::Poll => self.request(id, Request::Poll),
            other => self.change_job(id, |job| {
                let row = &mut job.row;
                match other {
                    JobUpdate::Url(url) => row.url.clone_from(url),
                    JobUpdate::Webhook(webhook) => row.webhook.clone_from(webhook),
                    JobUpdate::Priority(priority) => row.priority = *priority,
                    JobUpdate::Deadline(at) => row.deadline_at = *at,
                    JobUpdate::NotBefore(at) => row.not_before = *at,
                    JobUpdate::CreatedAt(at) => row.created_at = *at,
                    JobUpdate::Cancel | JobUpdate::Poll => {}
                }
            })?,
        }
        Ok(())
    }
}
