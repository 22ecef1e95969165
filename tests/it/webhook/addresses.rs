//! Which addresses are dialled, and what becomes of names.

use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::core::delivery::{AttemptErrorClass, AttemptResult};
use jobtrackd::sockets::Sockets;
use jobtrackd::webhook::Sender;

use super::{NOW, message, send, settings, unreachable};
use crate::support::hostile::Receiver;
use crate::support::kept_open::KeptOpen;

#[tokio::test(start_paused = true)]
async fn private_addresses_and_names_of_them_are_not_dialled_without_permission() {
    let receiver = Receiver::answering("200 OK", "").await;
    let port = receiver.address.port();
    let hosts = [
        "127.0.0.1",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
    ];
    for host in hosts {
        let mut webhook = settings(&format!("http://{host}:{port}/hook"));
        webhook.allow_private = false;
        let (class, detail) = unreachable(send(&webhook).await.result);
        assert_eq!(class, AttemptErrorClass::BlockedAddress, "{host}");
        assert!(detail.contains("allow_private"), "{detail}");
    }
    assert_eq!(receiver.connections(), 0);
    for host in hosts {
        let webhook = settings(&format!("http://{host}:{port}/hook"));
        let report = send(&webhook).await;
        assert_eq!(
            report.result,
            AttemptResult::Delivered { status: 200 },
            "{host}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn permission_for_private_addresses_is_not_shared_through_kept_connections() {
    let receiver = Receiver::answering("200 OK", "").await;
    let sender = Sender::new(Clock::driven(NOW), &[], Sockets::default()).unwrap();
    let mut webhook = settings(&format!("http://localhost:{}/", receiver.address.port()));
    let report = sender.send(&webhook, &message()).await.unwrap();
    assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
    webhook.allow_private = false;
    let report = sender.send(&webhook, &message()).await.unwrap();
    assert_eq!(
        unreachable(report.result).0,
        AttemptErrorClass::BlockedAddress
    );
}

#[tokio::test(start_paused = true)]
async fn link_local_addresses_are_never_dialled() {
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]"] {
        let report = send(&settings(&format!("http://{host}/latest/"))).await;
        let (class, detail) = unreachable(report.result);
        assert_eq!(class, AttemptErrorClass::BlockedAddress, "{host}");
        assert!(detail.contains("never"), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_a_dns_error() {
    let report = send(&settings("http://no-such-host.invalid/hook?token=canary")).await;
    assert_eq!(unreachable(report.result).0, AttemptErrorClass::Dns);
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_replaced_after_five_minutes_so_that_another_address_is_found() {
    let server = KeptOpen::start("").await;
    let webhook = settings(&server.url());
    let sender = Sender::new(
        Clock::driven(NOW),
        std::slice::from_ref(&webhook),
        Sockets::default(),
    )
    .unwrap();
    let mut connections = Vec::new();
    for second in 0..=900_u64 {
        let report = sender.send(&webhook, &message()).await.unwrap();
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
        if second % 150 == 0 {
            connections.push(server.made());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(connections, [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(server.open(), 1, "the old ones are closed");
}
