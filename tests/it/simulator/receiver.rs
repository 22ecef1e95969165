//! The webhook receiver: whom it believes, what it knows again, what it refuses.

use jobtrackd::clock::Clock;
use jobtrackd::simulator::{Hook, Receiver, ReceiverSettings, Reply, SignatureError};
use reqwest::StatusCode;
use standardwebhooks::Webhook;

use super::client;

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const BODY: &str = r#"{"type":"job.completed","data":{"job_id":"61723","sequence":4}}"#;

async fn receiver() -> Receiver {
    let hook = Hook {
        name: "billing".to_owned(),
        secret: SECRET.to_owned(),
    };
    let settings = ReceiverSettings {
        hooks: vec![hook],
        ..ReceiverSettings::default()
    };
    Receiver::start(settings).await.unwrap()
}

/// Tells the hook an event that is signed for the body `signed`, `late` seconds ago.
async fn tell(receiver: &Receiver, id: &str, signed: &str, late: i64) -> reqwest::Response {
    let timestamp = Clock::system().now().0 / 1000 - late;
    let webhook = Webhook::new(SECRET).unwrap();
    let signature = webhook.sign(id, timestamp, signed.as_bytes()).unwrap();
    let request = client()
        .post(receiver.url("billing"))
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", format!("v1,AAAA {signature}"));
    request.body(BODY).send().await.unwrap()
}

#[tokio::test]
async fn a_signed_event_is_taken_read_and_known_again() {
    let receiver = receiver().await;
    for _ in 0..2 {
        let answer = tell(&receiver, "evt_1", BODY, 0).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    let received = receiver.inbox().received();
    let again: Vec<bool> = received.iter().map(|request| request.again).collect();
    assert_eq!(again, [false, true]);
    let first = &received[0];
    assert!(first.is_taken() && first.signature.is_ok());
    let read = (first.event.as_str(), first.job.as_str(), first.sequence);
    assert_eq!(read, ("job.completed", "61723", 4));
    assert_eq!(receiver.inbox().received_after(1).len(), 1);
    receiver.shutdown().await;
}

#[tokio::test]
async fn a_forged_a_stale_and_an_unsigned_event_are_not_believed() {
    let receiver = receiver().await;
    let forged = tell(&receiver, "evt_1", "{}", 0).await;
    let stale = tell(&receiver, "evt_1", BODY, 400).await;
    let unsigned = client().post(receiver.url("billing")).body(BODY);
    let unsigned = unsigned.send().await.unwrap();
    for answer in [forged, stale, unsigned] {
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let received = receiver.inbox().received();
    let errors: Vec<_> = received.iter().map(|request| request.signature).collect();
    assert_eq!(
        errors,
        [
            Err(SignatureError::Mismatch),
            Err(SignatureError::Timestamp),
            Err(SignatureError::Header("webhook-id"))
        ]
    );
    let nowhere = client().post(receiver.url("nobody")).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_fits_a_reply_is_answered_with_it_as_often_as_it_says() {
    let receiver = receiver().await;
    receiver.inbox().reply(Reply {
        job: Some("61723".to_owned()),
        times: Some(1),
        status: 503,
        header: Some(("retry-after", "7".to_owned())),
        ..Reply::default()
    });
    let other = Reply {
        event: Some("job.failed".to_owned()),
        status: 500,
        ..Reply::default()
    };
    receiver.inbox().reply(other);
    let refused = tell(&receiver, "evt_1", BODY, 0).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "7");
    let taken = tell(&receiver, "evt_1", BODY, 0).await;
    assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    assert!(!receiver.inbox().received()[1].again);
    assert_eq!(receiver.inbox().replies().len(), 1);
}
