//! What happens.

use proptest::prelude::*;
use proptest::sample::select;

use super::{JOBS, WEBHOOKS};

/// Something that happens to a store.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Time passes, in milliseconds.
    Passes(i64),
    Inserted(usize, Option<usize>),
    Enqueued(usize, u8),
    Updated(usize, u8),
    Deleted(usize),
    Requested(usize, bool),
    /// One batch of everything.
    Committed(Vec<Seen>, Vec<Attempted>, u8),
    /// An observation from earlier.
    Late(usize, Option<usize>),
    Expired(usize, bool),
    Disabled(usize),
    Enabled(usize),
    GivenUp(usize, usize, u8),
    Moved(usize, usize),
    Replayed(Option<usize>, Option<usize>, bool),
    Clamped(usize, u64),
    Resumed,
    Pruned(u8, i64, u32),
    Tested(usize, u8),
}

/// An answer about a job: which, how far its steps are, how it looks, whom it concerns, and when its events expire.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) job: usize,
    pub(super) steps: usize,
    pub(super) how: u8,
    pub(super) webhooks: Vec<usize>,
    pub(super) expires: Option<i64>,
}

/// An attempt at a head of a webhook.
#[derive(Debug, Clone)]
pub(super) struct Attempted {
    pub(super) webhook: usize,
    pub(super) which: usize,
    pub(super) how: u8,
    pub(super) fallback: Option<usize>,
    pub(super) health: Option<(u8, i64, i64)>,
    pub(super) skew: u32,
}

fn seen() -> impl Strategy<Value = Seen> {
    let webhooks = proptest::collection::vec(0..WEBHOOKS.len(), 0..3);
    let expires = proptest::option::of(-5000..20_000_i64);
    (0..JOBS.len(), 1..4_usize, 0..12_u8, webhooks, expires).prop_map(
        |(job, steps, how, mut webhooks, expires)| {
            webhooks.sort_unstable();
            webhooks.dedup();
            Seen {
                job,
                steps,
                how,
                webhooks,
                expires,
            }
        },
    )
}

fn attempted() -> impl Strategy<Value = Attempted> {
    let fallback = proptest::option::weighted(0.3, 0..WEBHOOKS.len());
    let health = proptest::option::of((0..3_u8, 0..6_i64, 0..2_i64));
    let skew = prop_oneof![9 => Just(1), 1 => 0..3_u32];
    (
        0..WEBHOOKS.len(),
        0..3_usize,
        0..14_u8,
        fallback,
        health,
        skew,
    )
        .prop_map(|(webhook, which, how, fallback, health, skew)| Attempted {
            webhook,
            which,
            how,
            fallback,
            health,
            skew,
        })
}

/// Anything.
pub(super) fn act() -> impl Strategy<Value = Act> {
    let (jobs, webhooks) = (0..JOBS.len(), 0..WEBHOOKS.len());
    let observed = proptest::collection::vec(seen(), 0..3);
    let attempts = proptest::collection::vec(attempted(), 0..4);
    let some_webhook = proptest::option::of(webhooks.clone());
    let some_job = proptest::option::of(jobs.clone());
    prop_oneof![
        2 => select(vec![1, 500, 5000, 100_000, -3000]).prop_map(Act::Passes),
        4 => (jobs.clone(), some_webhook.clone()).prop_map(|(job, webhook)| Act::Inserted(job, webhook)),
        1 => (jobs.clone(), 0..8_u8).prop_map(|(job, how)| Act::Enqueued(job, how)),
        2 => (jobs.clone(), 0..8_u8).prop_map(|(job, how)| Act::Updated(job, how)),
        1 => jobs.clone().prop_map(Act::Deleted),
        1 => (jobs.clone(), any::<bool>()).prop_map(|(job, poll)| Act::Requested(job, poll)),
        16 => (observed, attempts, any::<u8>()).prop_map(|(seen, tried, more)| Act::Committed(seen, tried, more)),
        2 => (0..100_usize, proptest::option::of(0..100_usize)).prop_map(|(one, other)| Act::Late(one, other)),
        2 => (webhooks.clone(), any::<bool>()).prop_map(|(webhook, instead)| Act::Expired(webhook, instead)),
        1 => webhooks.clone().prop_map(Act::Disabled),
        2 => webhooks.clone().prop_map(Act::Enabled),
        2 => (jobs.clone(), webhooks.clone(), 0..8_u8).prop_map(|(job, webhook, how)| Act::GivenUp(job, webhook, how)),
        2 => (webhooks.clone(), webhooks.clone()).prop_map(|(from, to)| Act::Moved(from, to)),
        2 => (some_job, some_webhook, any::<bool>()).prop_map(|(job, webhook, failed)| Act::Replayed(job, webhook, failed)),
        1 => (webhooks.clone(), 0..60_u64).prop_map(|(webhook, seconds)| Act::Clamped(webhook, seconds)),
        1 => Just(Act::Resumed),
        2 => (0..3_u8, -1000..200_000_i64, 1..20_u32).prop_map(|(stage, before, rows)| Act::Pruned(stage, before, rows)),
        1 => (webhooks, 0..4_u8).prop_map(|(webhook, number)| Act::Tested(webhook, number)),
    ]
}
