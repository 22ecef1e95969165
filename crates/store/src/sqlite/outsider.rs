//! Another program that has the file open, with the settings of an ordinary client.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Sqlite, Transaction};

use super::store::{execute, query};
use crate::{JobUpdate, NewJob, Result};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

const INSERT: &str = "
    INSERT INTO jobs (id, url, metadata, webhook, priority, deadline_at, not_before)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)";

/// A connection of its own.
#[derive(Debug)]
pub struct Outsider(SqliteConnection);

impl Outsider {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(false);
        Ok(Self(SqliteConnection::connect_with(&options).await?))
    }

    async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>> {
        Ok(self.0.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl crate::Outsider for Outsider {
    async fn insert(&mut self, job: &NewJob, created_at: UnixMillis) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let (deadline, not_before) = (job.deadline_at, job.not_before);
        let insert = query!(
            INSERT,
            &job.id,
            &job.url,
            &job.metadata,
            &job.webhook,
            job.priority,
            deadline.map(|at| at.0),
            not_before.map(|at| at.0)
        );
        let inserted = execute(&mut transaction, insert).await? == 1;
        if inserted {
            // No row is accepted that claims another time than the database's.
            let date = "UPDATE jobs SET created_at = ?2 WHERE id = ?1";
            execute(&mut transaction, query!(date, &job.id, created_at.0)).await?;
        }
        transaction.commit().await?;
        Ok(inserted)
    }

    async fn update(&mut self, id: &JobId, update: &JobUpdate) -> Result<bool> {
        let id = id.as_str();
        let statement = match update {
            JobUpdate::Cancel => query!("UPDATE jobs SET cancel_requested = 1 WHERE id = ?1", id),
            JobUpdate::Poll => query!("UPDATE jobs SET poll_requested = 1 WHERE id = ?1", id),
            JobUpdate::Url(url) => query!("UPDATE jobs SET url = ?2 WHERE id = ?1", id, url),
            JobUpdate::Webhook(name) => {
                query!("UPDATE jobs SET webhook = ?2 WHERE id = ?1", id, name)
            }
            JobUpdate::Priority(priority) => {
                query!("UPDATE jobs SET priority = ?2 WHERE id = ?1", id, priority)
            }
            JobUpdate::Deadline(at) => {
                let at = at.map(|at| at.0);
                query!("UPDATE jobs SET deadline_at = ?2 WHERE id = ?1", id, at)
            }
            JobUpdate::NotBefore(at) => {
                let at = at.map(|at| at.0);
                query!("UPDATE jobs SET not_before = ?2 WHERE id = ?1", id, at)
            }
            JobUpdate::CreatedAt(at) => {
                query!("UPDATE jobs SET created_at = ?2 WHERE id = ?1", id, at.0)
            }
        };
        Ok(execute(&mut self.0, statement).await? == 1)
    }

    async fn delete(&mut self, id: &JobId) -> Result<bool> {
        let delete = query!("DELETE FROM jobs WHERE id = ?1", id.as_str());
        Ok(execute(&mut self.0, delete).await? == 1)
    }
}
