//! Receivers that do everything wrong beside one that does not.

use super::{MINUTE, SECOND, delivering_world, done, webhook};
use crate::support::hostile::{Receiver, Reply};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Name, what it does, the first attempt's status and error.
fn receivers() -> Vec<(&'static str, Reply, &'static str, &'static str)> {
    let huge = 50 << 20;
    let bomb = "\u{1f}\u{8b}".repeat(500);
    let whole = |text: &str| Reply::Whole(text.to_owned());
    vec![
        ("hangs", Reply::Hang, "-", "timeout: "),
        (
            "drips-its-head",
            Reply::Drip(format!("{OK}x: ")),
            "-",
            "timeout: ",
        ),
        (
            "drips",
            Reply::Drip(format!("{OK}content-length: 99\r\n\r\n")),
            "200",
            "-",
        ),
        (
            "drips-a-refusal",
            Reply::Drip("HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n".to_owned()),
            "500",
            "too_slow: ",
        ),
        (
            "is-huge",
            Reply::Flood(format!("{OK}content-length: {huge}\r\n\r\n"), huge),
            "200",
            "-",
        ),
        (
            "is-a-bomb",
            Reply::Whole(format!(
                "{OK}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n{bomb}",
                bomb.len()
            )),
            "200",
            "-",
        ),
        (
            "resets-when-it-is-done",
            Reply::Reset(String::new()),
            "-",
            "http: ",
        ),
        (
            "moved",
            whole(
                "HTTP/1.1 301 Moved\r\nlocation: https://new.example/?k=canary\r\ncontent-length: 0\r\n\r\n",
            ),
            "301",
            "redirect: Moved Permanently, which is not followed, to https://new.example",
        ),
        (
            "speaks-something-else",
            whole("220 smtp.example\r\n\r\n"),
            "-",
            "http: ",
        ),
        (
            "pauses-for-ever",
            whole("HTTP/1.1 429 No\r\nretry-after: 99999999999\r\ncontent-length: 0\r\n\r\n"),
            "429",
            "throttled: 429, asks for a pause of 86400 s",
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn hostile_receivers_get_what_they_deserve_and_the_good_one_everything_at_once() {
    let mut sections = String::new();
    let mut listening = Vec::new();
    for (name, reply, ..) in receivers() {
        let receiver = Receiver::start(reply).await;
        // What hangs is tried once: each time takes two seconds of real time.
        let retry = match name {
            "resets-when-it-is-done" => "[\"30s\", \"30s\"]",
            "pauses-for-ever" => "[\"1d\"]",
            _ => "[]",
        };
        let lines = format!("events = [\"job.completed\"]\nretry = {retry}");
        let section = webhook(name, &lines).replace("SINK", &receiver.address.to_string());
        sections.push_str(&section);
        listening.push(receiver);
    }
    let mut world = delivering_world("events = [\"job.completed\"]", &sections).await;
    done(&mut world, "a").await;
    world.pass(5 * SECOND).await;
    assert_eq!(world.sink.accepted("all").len(), 1);
    world.pass(5 * MINUTE).await;
    for ((name, reply, status, error), receiver) in receivers().into_iter().zip(&listening) {
        let rows = world
            .rows(&format!(
                "SELECT coalesce(status, '-'), coalesce(error, '-'), duration_ms FROM attempts
                 WHERE webhook = '{name}' ORDER BY started_at, number LIMIT 1"
            ))
            .await;
        assert_eq!(rows[0][0], status, "{name}: {reply:?}");
        assert!(rows[0][1].starts_with(error), "{name}: {rows:?}");
        assert!(
            rows[0][2].parse::<u64>().unwrap() <= 15_002,
            "{name}: {rows:?}"
        );
        // Whatever came again came with the same id and the same bytes.
        let sent = receiver.requests();
        for each in &sent {
            let id = &each.headers["webhook-id"];
            let same = sent.iter().find(|other| other.headers["webhook-id"] == id);
            assert_eq!(same.unwrap().body, each.body, "{name}");
        }
    }
    let states = world
        .rows("SELECT webhook, group_concat(DISTINCT state) FROM deliveries GROUP BY webhook ORDER BY webhook")
        .await;
    let of = |name: &str| states.iter().find(|row| row[0] == name).unwrap()[1].as_str();
    assert_eq!(of("resets-when-it-is-done"), "exhausted");
    assert_eq!(of("pauses-for-ever"), "pending");
    assert_eq!(of("drips"), "delivered");
    let resets = listening[6].requests();
    assert_eq!(resets.len(), 3, "it had them, and is delivered again");
}
