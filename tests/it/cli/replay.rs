//! `replay`: what an operator types, and what comes back.

use jobtrackd::clock::Clock;
use jobtrackd::store::{ReplayFilter, Replays as _, Store};
use serde_json::json;

use super::Shell;
use super::webhook::two_ended;

#[tokio::test]
async fn a_dry_run_shows_what_would_be_sent_and_changes_nothing() {
    let shell = two_ended().await;
    let before = std::fs::read(shell.path()).unwrap();
    let dry = shell
        .run(&[
            "replay",
            "--webhook",
            "billing",
            "--since",
            "1h",
            "--dry-run",
        ])
        .done();
    assert!(dry.out.contains("1 × job.failed → billing"), "{}", dry.out);
    assert!(
        dry.out.contains("2 events would be sent again"),
        "{}",
        dry.out
    );
    let record = shell
        .run(&[
            "replay",
            "--webhook",
            "billing",
            "--since",
            "1h",
            "--limit",
            "1",
            "--dry-run",
            "--json",
        ])
        .done()
        .json();
    assert_eq!(
        (&record[0]["deliveries"], &record[0]["more"]),
        (&json!(1), &json!(true))
    );
    assert!(std::fs::read(shell.path()).unwrap() == before);
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_is_left_out_with_a_note_and_the_others_are_sent() {
    let shell = two_ended().await;
    let spoil = "UPDATE deliveries SET attempts = 4294967296 WHERE job_id = '1'";
    shell.sql(spoil).await;
    let done = shell.run(&["replay", "--webhook", "billing", "--since", "1h"]);
    assert!(
        done.err.contains("a delivery is left out: "),
        "{}",
        done.err
    );
    assert_eq!(done.code, 0);
    assert!(
        done.out.contains("1 event will be sent again"),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn a_replay_says_what_it_does_and_one_that_was_broken_off_is_gone_on_with() {
    let shell = two_ended().await;
    let done = shell.run(&["replay", "--job", "1", "--json"]).done().json();
    assert_eq!(
        (&done[0]["deliveries"], &done[0]["dry_run"]),
        (&json!(1), &json!(false))
    );
    let event = shell
        .run(&["deliveries", "--job", "2", "--json"])
        .done()
        .json()[0]["event_id"]
        .clone();
    let said = shell
        .run(&["replay", "--event", event.as_str().unwrap()])
        .done();
    assert!(
        said.out.contains("1 event will be sent again"),
        "{}",
        said.out
    );

    let store = Store::open(&shell.path(), Clock::system()).await.unwrap();
    let filter = ReplayFilter {
        limit: 10,
        webhook: Some("billing".to_owned()),
        ..ReplayFilter::default()
    };
    store.begin_replay(&filter).await.unwrap();
    store.close().await;
    let again = shell.run(&["replay", "--resume"]).done();
    assert!(
        again.out.contains("2 events will be sent again"),
        "{}",
        again.out
    );
    let nothing = shell.run(&["replay", "--resume"]);
    assert_eq!(nothing.code, 1);
    assert!(
        nothing.err.contains("no replay was interrupted"),
        "{}",
        nothing.err
    );
}

#[test]
fn replays_that_make_no_sense_say_how_to_write_them() {
    let shell = Shell::migrated();
    for (arguments, said) in [
        (&[][..], "--event <ID>"),
        (&["--webhook", "billing"], "--webhook needs --since"),
        (&["--event", "a", "--job", "b"], "cannot be used with"),
        (&["--job", "../x"], "invalid value"),
        (&["--since", "yesterday", "--webhook", "b"], "15m, 2h or 8d"),
        (&["--job", "1", "--limit", "0"], "0 is not in"),
        (&["--job", "1", "--type", "webhook.test"], "invalid value"),
    ] {
        let arguments = [&["replay"], arguments].concat();
        let refused = shell.run(&arguments);
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.err);
        assert!(refused.err.contains(said), "{arguments:?}: {}", refused.err);
    }
    let nothing = shell.run(&["replay", "--job", "1"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("no such delivery"), "{}", nothing.err);
}
