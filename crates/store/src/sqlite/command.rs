//! What only commands need: they come and go beside a daemon that has the same file open.

use sqlx::Connection;

use super::jobs::insert;
use super::open::SCHEMA;
use super::{SqliteStore, StoreError, integer};
use crate::{Enqueued, NewJob};

impl SqliteStore {
    pub(crate) async fn enqueue_all(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, StoreError> {
        self.write(async |connection| {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                // The triggers undo the refused statement only; the transaction goes on.
                let inserted = insert(&mut *connection, job).await;
                outcomes.push(match inserted.map_err(StoreError::from) {
                    Ok(true) => Enqueued::New,
                    Ok(false) => Enqueued::Known,
                    Err(StoreError::Refused(reason)) => Enqueued::Refused(reason),
                    Err(error) => return Err(error),
                });
            }
            Ok(outcomes)
        })
        .await
    }

    pub(crate) async fn schema(&self) -> Result<i64, StoreError> {
        self.read(async {
            let mut connection = self.shared.readers.acquire().await?;
            integer(&mut connection, SCHEMA).await
        })
        .await
    }

    pub(crate) async fn leave(&self) {
        if self.is_kept_open() {
            return;
        }
        let writer = self.shared.writer.lock().await.take();
        let leaving = async {
            self.shared.readers.close().await;
            if let Some(writer) = writer {
                drop(writer.close().await);
            }
        };
        self.shared.clock.held(leaving).await;
    }
}
