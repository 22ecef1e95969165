//! The simulator's receiver, as tests start it.

use std::net::SocketAddr;

use jobtrackd::clock::Clock;
use jobtrackd::simulator::{Received, Receiver, ReceiverSettings};

/// The secret that the events of every hook are signed with.
pub(crate) const SECRET: &str = "whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==";

/// Listens at a free port; `http://…/NAME` is the webhook NAME.
pub(crate) async fn receiver(clock: Clock) -> Receiver {
    receiver_at(SocketAddr::from(([127, 0, 0, 1], 0)), clock).await
}

pub(crate) async fn receiver_at(listen: SocketAddr, clock: Clock) -> Receiver {
    let settings = ReceiverSettings {
        listen,
        other_secret: Some(SECRET.to_owned()),
        clock,
        ..ReceiverSettings::default()
    };
    Receiver::start(settings).await.unwrap()
}

/// The types of events, in their order.
pub(crate) fn kinds(received: &[Received]) -> Vec<&str> {
    received.iter().map(|each| each.event.as_str()).collect()
}

/// The numbers of events, in their order.
pub(crate) fn sequences(received: &[Received]) -> Vec<u64> {
    received.iter().map(|each| each.sequence).collect()
}

/// The numbers of one job's events, in their order.
pub(crate) fn sequences_of(received: &[Received], job: &str) -> Vec<u64> {
    let of_job = received.iter().filter(|each| each.job == job);
    of_job.map(|each| each.sequence).collect()
}
