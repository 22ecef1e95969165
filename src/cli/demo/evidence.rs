//! Three records of the same jobs: what the API showed, what the daemon recorded, what the webhooks received.

use super::plan::{AUDIT, BILLING, Role};
use super::play::Play;
use crate::cli::pages;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::simulator::{
    ActiveFault, Control, Inbox, LoggedRequest, Received, Reply, Totals, Truth,
};
use crate::store::{Happened, JobDetail, RecordedEvent, Store, TransitionView};

/// Everything, when all is over.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) cases: Vec<Case>,
    /// The API's sums.
    pub(super) totals: Totals,
    /// Faults of the API that have not struck.
    pub(super) faults_left: Vec<ActiveFault>,
    /// Refusals of the webhooks that have not struck.
    pub(super) refusals_left: Vec<Reply>,
    /// Requests at the webhooks that belong to no job.
    pub(super) strays: Vec<Received>,
}

/// What is known of one job.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) role: Role,
    /// `None` when its row was never inserted, or is gone.
    pub(super) detail: Option<JobDetail>,
    /// Its transitions, with their results.
    pub(super) transitions: Vec<TransitionView>,
    /// Its events, with their bodies.
    pub(super) events: Vec<RecordedEvent>,
    /// `None` when the API knows no such job.
    pub(super) truth: Option<Truth>,
    /// What the API was asked about it.
    pub(super) requests: Vec<LoggedRequest>,
    /// What reached the webhooks about it.
    pub(super) received: Vec<Received>,
}

impl Evidence {
    pub(super) async fn gather(
        play: &Play,
        outside: &Store,
        control: &Control,
        inbox: &Inbox,
    ) -> anyhow::Result<Self> {
        let (requests, received) = (control.requests(), inbox.received());
        let mut cases = Vec::with_capacity(play.actors.len());
        for actor in &play.actors {
            let role = actor.role.clone();
            let remote = role.remote_id();
            let asked = |request: &&LoggedRequest| request.job.as_deref() == Some(remote);
            let told = |request: &&Received| request.job == role.id;
            let id = JobId::parse(role.id)?;
            let (mut transitions, mut events) = (Vec::new(), Vec::new());
            let reading = pages::timeline(outside, &id, |entry| {
                if let Happened::Transition(transition) = entry.what {
                    transitions.push(transition);
                }
            });
            reading.await?;
            pages::events(outside, &id, |event| events.push(event)).await?;
            cases.push(Case {
                detail: outside.detail(&id).await?,
                transitions,
                events,
                truth: control.truth(remote),
                requests: requests.iter().filter(asked).cloned().collect(),
                received: received.iter().filter(told).cloned().collect(),
                role,
            });
        }
        let known = |request: &Received| cases.iter().any(|case| case.role.id == request.job);
        Ok(Self {
            totals: control.totals(),
            faults_left: control.faults(),
            refusals_left: inbox.replies(),
            strays: received.iter().filter(|it| !known(it)).cloned().collect(),
            cases,
        })
    }

    /// Every request at the webhooks.
    pub(super) fn received(&self) -> impl Iterator<Item = &Received> {
        let of_jobs = self.cases.iter().flat_map(|case| &case.received);
        of_jobs.chain(&self.strays)
    }
}

impl Case {
    /// The events of this job that this webhook is to be told, by the rules of the contract.
    pub(super) fn due_at(&self, hook: &str) -> Vec<&RecordedEvent> {
        let elsewhere = self.role.webhook.is_some_and(|only| only != hook);
        let wants = |kind: &str| match hook {
            _ if elsewhere => false,
            AUDIT => true,
            BILLING => EventType::DEFAULT
                .iter()
                .any(|known| known.as_str() == kind),
            _ => false,
        };
        let events = self.events.iter();
        events.filter(|event| wants(&event.kind)).collect()
    }

    /// The requests that reached this webhook.
    pub(super) fn received_at(&self, hook: &str) -> impl Iterator<Item = &Received> {
        self.received
            .iter()
            .filter(move |request| request.hook == hook)
    }
}
