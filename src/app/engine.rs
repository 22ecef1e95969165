//! The loops and their connections. They live as long as the daemon: a reload sends them other settings and stops nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Environment;
use super::readiness::{Gauges, Sources};
use super::stranded::{StrandedCheck, StrandedEvents};
use super::watchdog::Loops;
use crate::config::Settings;
use crate::core::delivery::WebhookName;
use crate::core::event::Subscriptions;
use crate::core::retention::Retention;
use crate::dispatcher::{self, Dispatcher, Target};
use crate::heartbeat::Heartbeat;
use crate::lifecycle::Tasks;
use crate::status::{Health, Receiver};
use crate::store::{Store, Upstreams as _};
use crate::telemetry::Recent;
use crate::tracker::intake::{Intake, Noticed};
use crate::tracker::poller::{self, Poller, PollerParts, PollerSettings};
use crate::tracker::pruner::Pruner;
use crate::upstream::Upstream;
use crate::webhook::{Sender, WebhookSettings};
use crate::writer::commits::Commits;
use crate::writer::wakeups::Wakeups;
use crate::writer::{Recorder, recorder};

/// Most pages of rows in the poller's queue.
const NOTICES: usize = 16;

/// Intake, poller, writer, pruner, and one dispatcher per webhook that was ever configured.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) tasks: Tasks,
    /// Unfinished jobs in the table at start.
    pub(super) adopted: u64,
    environment: Environment,
    store: Store,
    recorder: Recorder,
    wakeups: Wakeups,
    loops: Loops,
    heartbeats: Vec<(String, Heartbeat)>,
    upstream: watch::Sender<Upstream>,
    polling: watch::Sender<PollerSettings>,
    retention: watch::Sender<Retention>,
    webhooks: BTreeMap<WebhookName, DispatcherHandle>,
    configured: watch::Sender<Vec<WebhookName>>,
    targets: watch::Sender<Vec<Receiver>>,
    recent: Recent,
    gauges: Gauges,
    stop: CancellationToken,
}

/// Changes the target of a dispatcher, and wakes it.
#[derive(Debug)]
struct DispatcherHandle {
    target: watch::Sender<Option<Arc<Target>>>,
    wakeup: Arc<Notify>,
}

/// What is made from settings before anything changes, so that errors in them are found in time.
pub(super) struct Prepared {
    upstream: Upstream,
    polling: PollerSettings,
    retention: Retention,
    targets: Vec<Target>,
}

impl Prepared {
    /// Makes the clients. Nothing is sent.
    pub(super) fn new(settings: &Settings, environment: &Environment) -> anyhow::Result<Self> {
        let upstream = Upstream::new(
            &settings.upstream,
            environment.clock.clone(),
            environment.jitter.clone(),
            environment.sockets.clone(),
            environment.answers.clone(),
        )?;
        Self::with(upstream, settings, environment)
    }

    fn with(
        upstream: Upstream,
        settings: &Settings,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let (clock, sockets) = (environment.clock.clone(), environment.sockets.clone());
        let sender = Sender::new(clock, &settings.webhooks, sockets)?;
        let targets = settings.webhooks.iter().map(|webhook| Target {
            webhook: webhook.clone(),
            sender: sender.clone(),
        });
        let polling = PollerSettings {
            upstream: upstream.clone(),
            api_origin: settings.upstream.base_url.origin().ascii_serialization(),
            subscriptions: subscriptions(&settings.webhooks),
            policy: settings.polling,
            max_in_flight: settings.upstream.max_in_flight,
        };
        Ok(Self {
            upstream,
            polling,
            retention: settings.retention,
            targets: targets.collect(),
        })
    }
}

impl Engine {
    /// Starts the loops and waits until the backlog has been read. Returns the API client too, which a reload replaces, and
    /// the health of the loops.
    pub(super) async fn start(
        prepared: Prepared,
        environment: &Environment,
        store: &Store,
        wakeup: &Arc<Notify>,
        commits: &Commits,
        loops: &Loops,
    ) -> anyhow::Result<(Self, watch::Receiver<Upstream>, Health)> {
        let clock = environment.clock.clone();
        if let Some(until) = store.upstream_pause(&prepared.polling.api_origin).await?
            && until > clock.now()
        {
            prepared.upstream.pause_for(until.since(clock.now()));
        }
        let upstream = watch::Sender::new(prepared.upstream);
        let wakeups = Wakeups::default();
        let (recorder, writer) = recorder(store.clone(), clock, wakeups.clone());
        let writer = writer.waking(commits.clone());
        let mut engine = Self {
            tasks: Tasks::default(),
            adopted: 0,
            environment: environment.clone(),
            store: store.clone(),
            recorder,
            wakeups,
            loops: loops.clone(),
            heartbeats: Vec::new(),
            upstream: upstream.clone(),
            polling: watch::Sender::new(prepared.polling),
            retention: watch::Sender::new(prepared.retention),
            webhooks: BTreeMap::new(),
            configured: watch::Sender::default(),
            targets: watch::Sender::default(),
            recent: Recent::default(),
            gauges: Gauges::default(),
            stop: CancellationToken::new(),
        };
        engine.spawn("the writer", writer.heartbeat(), async move {
            Ok(writer.run().await?)
        });
        engine.send_to(prepared.targets);
        let (notices, noticed) = mpsc::channel(NOTICES);
        let gauge = engine.poller(noticed);
        engine.pruner();
        let stranded = engine.stranded();
        engine.sockets();
        let (adopted, ready) = oneshot::channel();
        engine.intake(notices, wakeup, adopted);
        loops.watch(engine.heartbeats.clone());
        // Intake sends this when it has read the backlog; if it ends instead, its error is returned.
        let Ok(adopted) = ready.await else {
            return Err(engine.tasks.first_end().await);
        };
        engine.adopted = adopted;
        let sources = Sources {
            loops: loops.clone(),
            upstream: upstream.subscribe(),
            writable: engine.recorder.writable(),
            attempts: engine.gauges.clone(),
            stranded,
            sockets: environment.sockets.clone(),
        };
        let health = sources.health(gauge);
        Ok((engine, upstream.subscribe(), health))
    }

    /// The webhooks of the present configuration, for the dashboard.
    pub(super) fn receivers(&self) -> watch::Receiver<Vec<Receiver>> {
        self.targets.subscribe()
    }

    /// The last hour.
    pub(super) fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Makes what a reload changes. Nothing has changed yet.
    pub(super) fn prepare(&self, settings: &Settings) -> anyhow::Result<Prepared> {
        let upstream = self.upstream.borrow().renewed(&settings.upstream)?;
        Prepared::with(upstream, settings, &self.environment)
    }

    /// Applies the settings of a reload, without waiting for requests in flight.
    pub(super) fn renew(&mut self, prepared: Prepared) {
        prepared.upstream.take_over(&self.upstream.borrow());
        self.upstream.send_replace(prepared.upstream);
        self.polling.send_replace(prepared.polling);
        self.retention.send_replace(prepared.retention);
        self.send_to(prepared.targets);
        self.loops.watch(self.heartbeats.clone());
    }

    /// Stops in order: no loop begins anything new, requests in flight are finished, and the writer ends when the last
    /// recorder is dropped.
    pub(super) async fn finish(self, hurry: &CancellationToken) -> anyhow::Result<()> {
        self.stop.cancel();
        let Self {
            tasks, recorder, ..
        } = self;
        drop(recorder);
        tasks.finish(hurry).await
    }

    fn spawn(
        &mut self,
        name: &'static str,
        heartbeat: Heartbeat,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.heartbeats.push((name.to_owned(), heartbeat));
        self.tasks.spawn(name, task);
    }

    /// From now on events are sent to these webhooks only.
    fn send_to(&mut self, targets: Vec<Target>) {
        let names: Vec<WebhookName> = targets
            .iter()
            .map(|target| target.webhook.name.clone())
            .collect();
        let receivers = targets.iter().map(|target| Receiver {
            webhook: target.webhook.clone(),
            sender: target.sender.clone(),
        });
        self.targets.send_replace(receivers.collect());
        for (name, dispatcher) in &self.webhooks {
            if !names.contains(name) {
                self.wakeups.remove(name);
                dispatcher.target.send_replace(None);
            }
        }
        for target in targets.into_iter().map(Arc::new) {
            let name = target.webhook.name.clone();
            match self.webhooks.get(&name) {
                Some(dispatcher) => {
                    self.wakeups.add(name, Arc::clone(&dispatcher.wakeup));
                    dispatcher.target.send_replace(Some(target));
                }
                None => self.dispatcher(name, target),
            }
        }
        self.configured.send_replace(names);
    }

    fn dispatcher(&mut self, name: WebhookName, target: Arc<Target>) {
        let (target, target_receiver) = watch::channel(Some(target));
        let parts = dispatcher::Parts {
            name: name.clone(),
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            clock: self.environment.clock.clone(),
            jitter: self.environment.jitter.clone(),
            recent: self.recent.clone(),
        };
        let wakeup = Arc::new(Notify::new());
        let dispatcher = Dispatcher::new(parts, target_receiver, Arc::clone(&wakeup));
        self.gauges.add(name.clone(), dispatcher.gauge());
        self.wakeups.add(name.clone(), Arc::clone(&wakeup));
        self.webhooks
            .insert(name, DispatcherHandle { target, wakeup });
        let stop = self.stop.clone();
        self.spawn("a dispatcher", dispatcher.heartbeat(), async move {
            Ok(dispatcher.run(stop).await?)
        });
    }

    fn pruner(&mut self) {
        let pruner = Pruner {
            store: self.store.clone(),
            writable: self.recorder.writable(),
            retention: self.retention.subscribe(),
            clock: self.environment.clock.clone(),
            heartbeat: Heartbeat::default(),
        };
        let stop = self.stop.clone();
        self.spawn("the pruner", pruner.heartbeat.clone(), async move {
            Ok(pruner.run(stop).await?)
        });
    }

    fn stranded(&mut self) -> StrandedEvents {
        let found = StrandedEvents::default();
        let stranded = StrandedCheck {
            store: self.store.clone(),
            wakeups: self.wakeups.clone(),
            configured: self.configured.subscribe(),
            found: found.clone(),
        };
        let stop = self.stop.clone();
        self.tasks
            .spawn("the check for stranded events", async move {
                stranded.run(stop).await;
                Ok(())
            });
        found
    }

    fn sockets(&mut self) {
        let Environment { sockets, clock, .. } = self.environment.clone();
        let reporting = sockets.watch(clock);
        let stop = self.stop.clone();
        self.tasks.spawn("the sockets", async move {
            stop.run_until_cancelled(reporting).await;
            Ok(())
        });
    }

    fn intake(
        &mut self,
        poller: mpsc::Sender<Noticed>,
        wakeup: &Arc<Notify>,
        adopted: oneshot::Sender<u64>,
    ) {
        let intake = Intake {
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            clock: self.environment.clock.clone(),
            poller,
            wakeup: Arc::clone(wakeup),
            upstream: self.upstream.subscribe(),
            wakeups: self.wakeups.clone(),
            looking: self.environment.looking,
            heartbeat: Heartbeat::default(),
        };
        let stop = self.stop.clone();
        self.spawn("intake", intake.heartbeat.clone(), async move {
            Ok(intake.run(adopted, stop).await?)
        });
    }

    fn poller(&mut self, notices: mpsc::Receiver<Noticed>) -> Arc<poller::Gauge> {
        let parts = PollerParts {
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            clock: self.environment.clock.clone(),
            jitter: self.environment.jitter.clone(),
            recent: self.recent.clone(),
        };
        let poller = Poller::new(parts, self.polling.subscribe(), notices);
        let gauge = poller.gauge();
        let stop = self.stop.clone();
        self.spawn("the poller", poller.heartbeat(), async move {
            Ok(poller.run(stop).await?)
        });
        gauge
    }
}

fn subscriptions(webhooks: &[WebhookSettings]) -> Subscriptions {
    let each = |webhook: &WebhookSettings| (webhook.name.clone(), webhook.events.clone());
    Subscriptions::new(webhooks.iter().map(each).collect())
}
