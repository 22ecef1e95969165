//! The loops of one configuration, wired to each other.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use super::signs::Watched;
use super::vitals::Vitals;
use crate::config::Settings;
use crate::core::delivery::WebhookName;
use crate::core::event::Subscriptions;
use crate::dispatcher::{self, Dispatcher};
use crate::lifecycle::Tasks;
use crate::pulse::Pulse;
use crate::status::{Health, Problems};
use crate::store::Store;
use crate::tracker::commits::Commits;
use crate::tracker::intake::{Intake, Notice};
use crate::tracker::poller::{Poller, PollerParts};
use crate::tracker::pruner::Pruner;
use crate::tracker::recorder::{Recorder, Writable, recorder};
use crate::upstream::Upstream;
use crate::upstream::gate::Credentials;
use crate::webhook::{Sender, WebhookSettings};

/// Pages of rows that may wait for the poller.
const NOTICES: usize = 16;

/// Intake, poller, writer, pruner, and one dispatcher per webhook.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) tasks: Tasks,
    /// Unfinished jobs that were there at the start.
    pub(super) adopted: u64,
    /// The API as these loops know it.
    pub(super) upstream: Upstream,
    stop: CancellationToken,
}

/// What all loops are made from.
struct Workshop<'a> {
    settings: &'a Settings,
    surroundings: &'a Surroundings,
    store: &'a Store,
    upstream: &'a Upstream,
    tasks: Tasks,
    pulses: Vec<(String, Pulse)>,
    stop: CancellationToken,
}

impl Engine {
    /// Starts the loops and waits until the backlog has been taken up.
    pub(super) async fn start(
        settings: &Settings,
        surroundings: &Surroundings,
        store: &Store,
        nudge: &Arc<Notify>,
        commits: &Commits,
        vitals: &Vitals,
    ) -> anyhow::Result<(Self, Health)> {
        let (clock, jitter) = (surroundings.clock.clone(), surroundings.jitter.clone());
        let upstream = Upstream::new(&settings.upstream, clock.clone(), jitter)?;
        let origin = settings.upstream.base_url.origin().ascii_serialization();
        if let Some(until) = store.upstream_pause(&origin).await?
            && until > clock.now()
        {
            upstream.rest(until.since(clock.now()));
        }
        let mut workshop = Workshop {
            settings,
            surroundings,
            store,
            upstream: &upstream,
            tasks: Tasks::default(),
            pulses: Vec::new(),
            stop: CancellationToken::new(),
        };
        let nudges: HashMap<WebhookName, Arc<Notify>> = settings
            .webhooks
            .iter()
            .map(|webhook| (webhook.name.clone(), Arc::default()))
            .collect();
        let (recorder, writer) = recorder(store.clone(), clock, nudges.clone());
        let writer = writer.telling(commits.clone());
        workshop.spawn("the writer", writer.pulse(), async move {
            Ok(writer.run().await?)
        });
        let attempts = workshop.dispatchers(&recorder, &nudges)?;
        let (notices, noticed) = mpsc::channel(NOTICES);
        let gauge = workshop.poller(&recorder, noticed);
        workshop.pruner(&recorder);
        let writable = recorder.writable();
        let (adopted, ready) = oneshot::channel();
        workshop.intake(recorder, notices, nudge, nudges, adopted);
        let Workshop {
            mut tasks,
            pulses,
            stop,
            ..
        } = workshop;
        vitals.watch(pulses);
        // Intake answers once it has read the backlog; if it ends instead, its error says why.
        let Ok(adopted) = ready.await else {
            return Err(tasks.first_end().await);
        };
        let health = health(
            Watched {
                vitals: vitals.clone(),
                upstream: upstream.clone(),
                writable,
                attempts,
            },
            gauge,
        );
        let engine = Self {
            tasks,
            adopted,
            upstream,
            stop,
        };
        Ok((engine, health))
    }

    /// Stops in order: no loop begins anything new, what is in flight is finished, and the writer ends when nobody has
    /// anything left to record.
    pub(super) async fn finish(self, hurry: &CancellationToken) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tasks.finish(hurry).await
    }
}

impl Workshop<'_> {
    fn spawn(
        &mut self,
        name: &'static str,
        pulse: Pulse,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.pulses.push((name.to_owned(), pulse));
        self.tasks.spawn(name, task);
    }

    fn dispatchers(
        &mut self,
        recorder: &Recorder,
        nudges: &HashMap<WebhookName, Arc<Notify>>,
    ) -> anyhow::Result<Vec<(WebhookName, Arc<dispatcher::Gauge>)>> {
        let mut attempts = Vec::new();
        let clock = &self.surroundings.clock;
        let sender = Sender::new(clock.clone(), &self.settings.webhooks)?;
        for webhook in &self.settings.webhooks {
            let parts = dispatcher::Parts {
                webhook: webhook.clone(),
                sender: sender.clone(),
                store: self.store.clone(),
                recorder: recorder.clone(),
                clock: clock.clone(),
                jitter: self.surroundings.jitter.clone(),
            };
            let nudge = nudges.get(&webhook.name).cloned().unwrap_or_default();
            let dispatcher = Dispatcher::new(parts, nudge);
            attempts.push((webhook.name.clone(), dispatcher.gauge()));
            let stop = self.stop.clone();
            self.spawn("a dispatcher", dispatcher.pulse(), async move {
                Ok(dispatcher.run(stop).await?)
            });
        }
        Ok(attempts)
    }

    fn pruner(&mut self, recorder: &Recorder) {
        let pruner = Pruner {
            store: self.store.clone(),
            writable: recorder.writable(),
            retention: self.settings.retention,
            clock: self.surroundings.clock.clone(),
            pulse: Pulse::default(),
        };
        let stop = self.stop.clone();
        self.spawn("the pruner", pruner.pulse.clone(), async move {
            Ok(pruner.run(stop).await?)
        });
    }

    fn intake(
        &mut self,
        recorder: Recorder,
        poller: mpsc::Sender<Notice>,
        nudge: &Arc<Notify>,
        webhooks: HashMap<WebhookName, Arc<Notify>>,
        adopted: oneshot::Sender<u64>,
    ) {
        let intake = Intake {
            store: self.store.clone(),
            recorder,
            poller,
            nudge: Arc::clone(nudge),
            upstream: self.upstream.clone(),
            webhooks,
            tick: self.surroundings.intake_tick,
            pulse: Pulse::default(),
        };
        let stop = self.stop.clone();
        self.spawn("intake", intake.pulse.clone(), async move {
            Ok(intake.run(adopted, stop).await?)
        });
    }

    fn poller(
        &mut self,
        recorder: &Recorder,
        notices: mpsc::Receiver<Notice>,
    ) -> Arc<crate::tracker::poller::Gauge> {
        let upstream = &self.settings.upstream;
        let parts = PollerParts {
            store: self.store.clone(),
            recorder: recorder.clone(),
            upstream: self.upstream.clone(),
            api_origin: upstream.base_url.origin().ascii_serialization(),
            subscriptions: subscriptions(&self.settings.webhooks),
            policy: self.settings.polling,
            max_in_flight: upstream.max_in_flight,
            clock: self.surroundings.clock.clone(),
            jitter: self.surroundings.jitter.clone(),
        };
        let poller = Poller::new(parts, notices);
        let gauge = poller.gauge();
        let stop = self.stop.clone();
        self.spawn("the poller", poller.pulse(), async move {
            Ok(poller.run(stop).await?)
        });
        gauge
    }
}

fn subscriptions(webhooks: &[WebhookSettings]) -> Subscriptions {
    let each = |webhook: &WebhookSettings| (webhook.name.clone(), webhook.events.clone());
    Subscriptions::new(webhooks.iter().map(each).collect())
}

fn health(watched: Watched, gauge: Arc<crate::tracker::poller::Gauge>) -> Health {
    let for_metrics = watched.clone();
    Health::new(
        move || problems(&watched.vitals, &watched.writable, &watched.upstream),
        gauge,
    )
    .with_signs(move || for_metrics.signs())
}

/// What is wrong just now: what makes the daemon unready, and what is merely degraded (contract, section 9).
fn problems(
    vitals: &Vitals,
    writable: &watch::Receiver<Writable>,
    upstream: &Upstream,
) -> Problems {
    let mut unready: Vec<String> = Vec::new();
    let cannot_write = match *writable.borrow() {
        Writable::Yes => None,
        Writable::DiskFull => Some("the disk is full"),
        Writable::Locked => Some("another program holds its lock"),
    };
    unready.extend(cannot_write.map(|why| format!("the database cannot be written: {why}")));
    if let Credentials::Refused { since, detail } = upstream.gate().credentials() {
        unready.push(format!(
            "the upstream refuses our credentials since {since}: {detail}"
        ));
    }
    let stalled = vitals.stalled().into_iter();
    unready.extend(stalled.map(|name| format!("{name} has stalled")));
    Problems {
        unready,
        degraded: upstream.gate().degraded(),
    }
}
