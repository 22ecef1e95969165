//! The composition root: makes the parts, connects them, and runs them as one daemon.

mod engine;

mod status_line;

mod stranded;

mod service;

mod readiness;

mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use service::run;

use crate::clock::{Clock, Jitter};
use crate::config::{DatabaseSettings, Settings};
use crate::core::enqueue::EnqueueRules;
use crate::lifecycle::{ServiceManager, Tasks};
use crate::sockets::Sockets;
use crate::status::{
    self, Access, Budget, Dashboard, Figures, Health, Host, HostProbe, Limits, Listen, Listener,
    Scrape, StatusSettings, Waiting,
};
use crate::store::sqlite::{DatabaseFile, InstanceLock};
use crate::store::{Store, StoreError};
use crate::telemetry::Exporter;
use crate::tracker::looks::Looking;
use crate::upstream::AnswerMemory;
use crate::writer::commits::Commits;
use engine::{Engine, Prepared};
use watchdog::{Loops, Watchdog};

/// Pause before a database that is locked at start is tried again.
const START_RETRY: Duration = Duration::from_secs(1);

/// How long to wait for the error of the store, after a part has ended because of another one.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// What differs between a daemon in production and one in a test.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The time of day.
    pub clock: Clock,
    /// Randomness of delays.
    pub jitter: Jitter,
    /// How often it is looked for commits of other programs.
    pub looking: Looking,
    /// Limits of the status server.
    pub status_limits: Limits,
    /// Memory for the API's answers.
    pub answers: AnswerMemory,
    /// Opens connections, and reports a shortage of sockets.
    pub sockets: Sockets,
    /// The service manager, notified of start and stop.
    pub manager: ServiceManager,
    /// The recorder of metrics, if one is installed.
    pub exporter: Option<Exporter>,
    /// Examines the host for the dashboard, if anything does.
    pub host: Option<HostProbe>,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            jitter: Jitter::system(),
            looking: Looking::default(),
            status_limits: Limits::default(),
            answers: AnswerMemory::default(),
            sockets: Sockets::default(),
            manager: ServiceManager::default(),
            exporter: None,
            host: None,
        }
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    environment: Environment,
    settings: Settings,
    store: Store,
    wakeup: Arc<Notify>,
    engine: Engine,
    /// The requests at the status server that wait for a change.
    waiting: Waiting,
    health: Arc<Health>,
    rules: watch::Sender<EnqueueRules>,
    loops: Loops,
    /// The error of the last reload, if it was refused.
    reload_error: Arc<RwLock<Option<String>>>,
    status: Tasks,
    /// The status server's own connections to the database, if there is a status server.
    status_store: Option<Store>,
    status_stop: CancellationToken,
    status_address: Option<Listen>,
    access: Access,
    _lock: InstanceLock,
}

/// The new settings cannot be used; the old ones stay in force.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReloadRefused(String);

impl Daemon {
    /// Takes the lock, brings the schema up to date, and starts to follow the jobs in the database. While another program
    /// holds the database's lock it waits, until `stop`.
    ///
    /// # Errors
    /// When another daemon uses the database, the database cannot be used, or the status server cannot listen on its address.
    pub async fn start(
        settings: Settings,
        environment: Environment,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (lock, store) = open(&settings.database, &environment, stop).await?;
        let prepared = Prepared::new(&settings, &environment)?;
        let listener = listen(&settings.status).await?;
        let status_address = listener.as_ref().map(Listener::address).cloned();
        let access = Access::new(&settings.status);
        let wakeup = Arc::new(Notify::new());
        environment
            .manager
            .status("Taking up the jobs that are there".to_owned());
        let (loops, commits) = (Loops::default(), Commits::default());
        let starting = Engine::start(prepared, &environment, &store, &wakeup, &commits, &loops);
        let (engine, upstream, health) = starting.await?;
        let waiting = Waiting::new(commits);
        let health = Arc::new(health);
        let rules = watch::Sender::new(settings.enqueue_rules());
        let status_stop = CancellationToken::new();
        let mut status_store = None;
        let mut status = Tasks::default();
        if let Some(listener) = listener {
            let requests = status_store.insert(store.for_requests().await?);
            let serving = status::serve(
                listener,
                status::Parts {
                    store: requests.clone(),
                    health: Arc::clone(&health),
                    upstream,
                    rules: rules.subscribe(),
                    wakeup: Arc::clone(&wakeup),
                    waiting: waiting.clone(),
                    budget: Budget::new(&environment.status_limits),
                    clock: environment.clock.clone(),
                    receivers: engine.receivers(),
                    figures: Figures::default(),
                    recent: engine.recent(),
                    host: Host::new(environment.host.clone()),
                    dashboard: Dashboard::new(access.clone()),
                    scrape: environment.exporter.clone().map(Scrape::from),
                },
                access.clone(),
                environment.status_limits,
                status_stop.clone(),
            );
            status.spawn("the status server", async move {
                serving.await.context("the status server broke")
            });
        }
        Ok(Self {
            environment,
            settings,
            store,
            wakeup,
            engine,
            waiting,
            health,
            rules,
            loops,
            reload_error: Arc::default(),
            status,
            status_store,
            status_stop,
            status_address,
            access,
            _lock: lock,
        })
    }

    /// Where the status server listens.
    #[must_use]
    pub fn status_address(&self) -> Option<Listen> {
        self.status_address.clone()
    }

    /// The requests at the status server that wait for a change.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The daemon's database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The task that checks the loops and notifies the service manager, until it is dropped.
    fn watchdog(&self) -> impl Future<Output = ()> + Send + 'static {
        let watchdog = Watchdog {
            loops: self.loops.clone(),
            health: Arc::clone(&self.health),
            store: self.store.clone(),
            manager: self.environment.manager.clone(),
            reload_error: Arc::clone(&self.reload_error),
        };
        watchdog.run()
    }

    /// Keeps the error of a reload for the status line; `None` after one that was accepted.
    fn set_reload_error(&self, error: Option<String>) {
        *self.reload_error.write() = error;
    }

    /// Makes the daemon check for new rows at once.
    pub fn wakeup(&self) {
        self.wakeup.notify_one();
    }

    /// Resolves with the error of a part that has ended without a stop; the daemon is to be stopped then.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.engine.tasks.first_end() => error,
            error = self.status.first_end() => error,
        }
    }

    /// The cause of `error`, with which a part has ended. It may have ended because of another part, so an error of the store
    /// is waited for. Database files that were moved or deleted come first: the operator must save the old write-ahead log
    /// before another program creates a new one.
    pub async fn reason_of(&mut self, error: anyhow::Error) -> anyhow::Error {
        if let Err(missing) = self.store.verify_files().await {
            return missing.into();
        }
        let is_of_store =
            |error: &anyhow::Error| error.chain().any(|cause| cause.is::<StoreError>());
        if is_of_store(&error) {
            return error;
        }
        let of_store = async {
            loop {
                let next = self.engine.tasks.first_end().await;
                if is_of_store(&next) {
                    return next;
                }
            }
        };
        timeout(REASON_WAIT, of_store).await.unwrap_or(error)
    }

    /// Applies other settings, without waiting for requests in flight. Settings that need a restart keep their old value and
    /// are logged.
    ///
    /// # Errors
    /// When the settings cannot be used; nothing has changed then.
    pub fn reload(&mut self, new: Settings) -> Result<(), ReloadRefused> {
        for key in self.settings.restart_needed(&new) {
            warn!(
                key,
                "this setting has changed and needs a restart; the old value stays"
            );
        }
        let new = self.settings.renewed(new);
        let prepared = self
            .engine
            .prepare(&new)
            .map_err(|error| ReloadRefused(format!("{error:#}")))?;
        self.engine.renew(prepared);
        self.rules.send_replace(new.enqueue_rules());
        self.access.renew(&new.status);
        self.settings = new;
        Ok(())
    }

    /// Stops in order: nothing new is begun, requests in flight are finished or dropped after the grace, and their outcomes
    /// are recorded. `hurry` cuts the waiting short.
    ///
    /// # Errors
    /// The first error with which a part has ended.
    pub async fn stop(self, hurry: &CancellationToken) -> anyhow::Result<()> {
        self.waiting.end();
        let engine = self.engine.finish(hurry).await;
        self.status_stop.cancel();
        let status = self.status.finish(hurry).await;
        // The last connection to be closed checkpoints the write-ahead log.
        let closing = async {
            if let Some(store) = &self.status_store {
                store.close().await;
            }
            self.store.close().await;
        };
        tokio::select! {
            () = closing => {}
            () = hurry.cancelled() => {}
        }
        engine.and(status)
    }
}

async fn listen(settings: &StatusSettings) -> anyhow::Result<Option<Listener>> {
    let Some(address) = &settings.listen else {
        return Ok(None);
    };
    let listener = Listener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on status.listen = \"{address}\""))?;
    Ok(Some(listener))
}

/// Takes the lock, and opens the database under it.
async fn open(
    database: &DatabaseSettings,
    environment: &Environment,
    stop: &CancellationToken,
) -> anyhow::Result<(InstanceLock, Store)> {
    let file = DatabaseFile {
        create: database.create,
        ..DatabaseFile::new(&database.path, database.allow_network_filesystem)
    };
    // Before the lock, which an unsuitable file system may refuse with a less clear error.
    file.check()?;
    let note = format!(
        "pid {}, since {}",
        std::process::id(),
        environment.clock.now()
    );
    let mut lock = InstanceLock::take(file.path, &note)?;
    let store = open_patiently(file, environment, stop).await?;
    lock.cover(file.path)?;
    Ok((lock, store))
}

async fn open_patiently(
    file: DatabaseFile<'_>,
    environment: &Environment,
    stop: &CancellationToken,
) -> anyhow::Result<Store> {
    let mut was_logged = false;
    let manager = &environment.manager;
    manager.status("Opening the database".to_owned());
    loop {
        let clock = environment.clock.clone();
        match Store::create_or_migrate(file, clock).await {
            Err(error) if error.is_temporary() => {
                manager.status(format!("Waiting for the database: {error}"));
                if !std::mem::replace(&mut was_logged, true) {
                    error!(%error, "the database cannot be opened yet; waiting");
                }
            }
            result => return result.map_err(anyhow::Error::from),
        }
        tokio::select! {
            () = stop.cancelled() => return Err(anyhow::Error::new(StoreError::Busy)),
            () = tokio::time::sleep(START_RETRY) => {}
        }
    }
}
