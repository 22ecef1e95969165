//! Programs that enqueue all the time: one inserts rows, the other one posts to the status server. Jobs whose commit they
//! saw succeed go into the ground truth.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
use crate::support::waiting::pause;
use crate::tables;

/// How long an answer of the status server is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Load {
    stop: CancellationToken,
    distrust: CancellationToken,
    tasks: JoinSet<()>,
    address: watch::Sender<Option<String>>,
}

impl Load {
    /// Enqueues a job by either way about every `every_ms`.
    pub(crate) fn start(ground: &Arc<Ground>, database: &Path, every_ms: u64, name: &str) -> Self {
        let mut load = Self::posting(ground, every_ms, name);
        let enqueuer = load.enqueuer(ground, every_ms, format!("{name}-row"));
        load.tasks.spawn(enqueuer.insert(database.to_owned()));
        load
    }

    /// Only posts, so that nobody but the daemon flushes the database.
    pub(crate) fn posting(ground: &Arc<Ground>, every_ms: u64, name: &str) -> Self {
        let (address, addresses) = watch::channel(None);
        let mut load = Self {
            stop: CancellationToken::new(),
            distrust: CancellationToken::new(),
            tasks: JoinSet::new(),
            address,
        };
        let enqueuer = load.enqueuer(ground, every_ms, format!("{name}-post"));
        load.tasks.spawn(enqueuer.post(addresses));
        load
    }

    fn enqueuer(&self, ground: &Arc<Ground>, every_ms: u64, name: String) -> Enqueuer {
        Enqueuer {
            ground: Arc::clone(ground),
            stop: self.stop.clone(),
            distrust: self.distrust.clone(),
            every_ms,
            name,
        }
    }

    /// Where the status server is now.
    pub(crate) fn post_to(&self, address: Option<String>) {
        self.address.send_replace(address);
    }

    /// From now on a row that was inserted is not taken for committed.
    pub(crate) fn distrust(&self) {
        self.distrust.cancel();
    }

    /// Stops, and closes the database.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Enqueuer {
    ground: Arc<Ground>,
    stop: CancellationToken,
    distrust: CancellationToken,
    every_ms: u64,
    name: String,
}

impl Enqueuer {
    async fn insert(self, database: PathBuf) {
        let mut connection: Option<SqliteConnection> = None;
        for number in 0_u64.. {
            pause(self.every_ms).await;
            if self.stop.is_cancelled() {
                break;
            }
            if connection.is_none() {
                connection = tables::open(&database).await.ok();
            }
            let Some(open) = &mut connection else {
                continue;
            };
            let id = format!("{}-{number}", self.name);
            let inserted = sqlx::query("INSERT INTO jobs (id) VALUES (?)")
                .bind(&id)
                .execute(open)
                .await;
            match inserted {
                Ok(_) if self.distrust.is_cancelled() => {}
                Ok(_) => self.ground.acknowledge(id),
                // Nobody knows whether it was committed; the next one is of another connection.
                Err(_) => drop(connection.take()),
            }
        }
        if let Some(connection) = connection {
            // A file system that is gone cannot be closed properly.
            let _ = connection.close().await;
        }
    }

    async fn post(self, addresses: watch::Receiver<Option<String>>) {
        let Ok(client) = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
        else {
            return;
        };
        for number in 0_u64.. {
            pause(self.every_ms).await;
            if self.stop.is_cancelled() {
                break;
            }
            let Some(address) = addresses.borrow().clone() else {
                continue;
            };
            let id = format!("{}-{number}", self.name);
            let sent = client
                .post(format!("http://{address}/jobs"))
                .header("content-type", "application/json")
                .body(format!(r#"{{"id":"{id}"}}"#));
            // The stop does not wait for an answer that does not come.
            let answer = tokio::select! {
                answer = sent.send() => answer,
                () = self.stop.cancelled() => break,
            };
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                self.ground.acknowledge(id);
            }
        }
    }
}
