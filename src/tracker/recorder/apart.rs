//! What the writer does with a batch that a rule of the schema refuses.

use tokio::sync::oneshot;
use tracing::error;

use super::{Recorded, Waiting, Writer, key_of};
use crate::core::time::UnixMillis;
use crate::store::{Batch, Expiry, StoreError};

impl Writer {
    /// A rule of the schema refused a batch: somebody else's hand is in the rows of one job. The others must not suffer
    /// for it, so each change is recorded by itself, and the one that is refused is said so.
    pub(super) async fn commit_apart(
        &self,
        batch: Batch,
        waiting: Waiting,
        refused: StoreError,
    ) -> Result<(), StoreError> {
        let now = batch.now;
        let observed = batch.observations.into_iter().zip(waiting.seen);
        for (recordable, (id, done)) in observed {
            let alone = Batch {
                observations: vec![recordable],
                now,
                ..Batch::default()
            };
            let mut waiting = Waiting::default();
            match self.commit_patiently(&alone).await {
                Ok(committed) => {
                    waiting.seen.push((id, done));
                    self.answer(waiting, &committed);
                }
                Err(StoreError::Refused(rule)) => {
                    let _ = done.send(Recorded::Refused(rule));
                }
                Err(error) => return Err(error),
            }
        }
        for (attempt, waits) in batch.attempts.into_iter().zip(waiting.attempted) {
            let (event_id, webhook, _) = key_of(&attempt);
            let job_id = attempt.job_id.clone();
            let alone = Batch {
                attempts: vec![attempt],
                now,
                ..Batch::default()
            };
            match self.commit_patiently(&alone).await {
                Ok(committed) => {
                    let waiting = Waiting {
                        attempted: vec![waits],
                        ..Waiting::default()
                    };
                    self.answer(waiting, &committed);
                }
                Err(StoreError::Refused(rule)) => {
                    error!(
                        %job_id,
                        %webhook,
                        event_id,
                        error = rule,
                        "an attempt cannot be recorded; its rows were changed by another hand"
                    );
                    let _ = waits.1.send(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.expire_apart(batch.expiries, waiting.expired, now)
            .await?;
        let rest = Batch {
            schedules: batch.schedules,
            poll_requests_taken: batch.poll_requests_taken,
            upstream_paused: batch.upstream_paused,
            changes_seen: batch.changes_seen,
            now,
            ..Batch::default()
        };
        match self.commit_patiently(&rest).await {
            // Bookkeeping has no rule to break; if it is refused all the same, nobody can help.
            Err(StoreError::Refused(_)) => Err(refused),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    async fn expire_apart(
        &self,
        expiries: Vec<Expiry>,
        waiting: Vec<oneshot::Sender<bool>>,
        now: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let alone = Batch {
            expiries,
            now,
            ..Batch::default()
        };
        let recorded = match self.commit_patiently(&alone).await {
            Ok(committed) => {
                self.answer(Waiting::default(), &committed);
                true
            }
            Err(StoreError::Refused(rule)) => {
                error!(
                    error = rule,
                    "what has expired cannot be given up; its rows were changed by another hand"
                );
                false
            }
            Err(error) => return Err(error),
        };
        for done in waiting {
            let _ = done.send(recorded);
        }
        Ok(())
    }
}
