//! `webhook`: what an operator types, and what comes back.

use std::process::Command;

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{Said, Shell};
use crate::support::hostile::{Receiver, Reply};
use crate::support::receiver::SECRET;

impl Shell {
    /// The program with a webhook "billing" at this URL.
    fn with_billing(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .env("JOBTRACKD__WEBHOOKS__BILLING__URL", url)
            .env("JOBTRACKD__WEBHOOKS__BILLING__ALLOW_PRIVATE", "true");
        command
    }

    pub(super) fn billing(&self, arguments: &[&str]) -> Said {
        let url = "https://billing.example/hooks?token=canary";
        let mut command = self.with_billing(url, arguments);
        command.output().unwrap().into()
    }

    /// Sends a sample to a receiver.
    fn test(&self, url: &str, arguments: &[&str]) -> Said {
        let arguments = [&["webhook", "test"], arguments].concat();
        let mut command = self.with_billing(url, &arguments);
        command.env("JOBTRACKD__WEBHOOKS__BILLING__SECRET", SECRET);
        block_in_place(|| command.output().unwrap().into())
    }
}

pub(super) fn steps(status: &str) -> Value {
    json!([{"title": "verify-credentials", "status": status, "result": null}])
}

/// Two jobs that have ended, with an event each for "billing", pending.
pub(super) async fn two_ended() -> Shell {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "1", "2"]).done();
    shell.seen("1", &steps("success")).await;
    shell.seen("2", &steps("failed")).await;
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_shows_the_very_bytes_that_the_receiver_got_and_what_it_said() {
    let body = "thank\nyou";
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let receiver = Receiver::start(Reply::Whole(reply)).await;
    let shell = Shell::migrated();
    let url = format!("http://{}/hook?token=canary&v", receiver.address);
    let said = shell.test(&url, &["billing"]).done();
    let [request] = receiver.requests().try_into().unwrap();
    let sent = String::from_utf8(request.body.clone()).unwrap();
    let mut lines = said.out.lines();
    assert_eq!(lines.next(), Some("POST /hook?token=***&*** HTTP/1.1"));
    let shown: Vec<(&str, &str)> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let got: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(shown.len(), got.len(), "{shown:?} {got:?}");
    assert!(
        shown.iter().all(|header| got.contains(header)),
        "{shown:?} {got:?}"
    );
    assert_eq!(lines.next(), Some(sent.as_str()));
    assert!(
        said.out.contains("200 after ") && said.out.contains(r"thank\nyou"),
        "{}",
        said.out
    );
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    verifier.verify(&request.body, &request.headers).unwrap();
    let event: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(event["type"], "webhook.test");
    assert_eq!(event["data"], json!({"webhook": "billing"}));

    let shown = shell
        .billing(&["webhook", "show", "billing", "--json"])
        .done()
        .json();
    let attempt = &shown[0]["attempts"][0];
    assert_eq!(attempt["trigger"], "test");
    assert_eq!(
        (&attempt["status"], &attempt["answer"]),
        (&json!(200), &json!(r"thank\nyou"))
    );
    assert!(attempt["event_id"].as_str().unwrap().starts_with("test_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_each_type_is_sent_and_says_that_it_is_one() {
    let receiver = Receiver::answering("204 No Content", "").await;
    let shell = Shell::migrated();
    for kind in [
        "job.completed",
        "job.failed",
        "job.action_required",
        "job.delayed",
        "job.step_changed",
    ] {
        let said = shell
            .test(&receiver.url(), &["billing", "--type", kind, "--json"])
            .done();
        let record = &said.json()[0];
        let body: Value =
            serde_json::from_str(record["request"]["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["type"], kind);
        assert_eq!(body["data"]["metadata"], json!({"test": true}));
        assert_eq!(
            (&record["delivered"], &record["status"]),
            (&json!(true), &json!(204))
        );
    }
    assert_eq!(receiver.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_is_not_taken_is_a_failure_that_says_why() {
    let refusing = Receiver::answering("401 Unauthorized", "").await;
    let shell = Shell::empty();
    let said = shell.test(&refusing.url(), &["billing"]);
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("billing did not take the sample: status: 401 Unauthorized"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("the attempt was not recorded"),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("tried again by the schedule"),
        "{}",
        said.out
    );
    let said = shell.test("http://127.0.0.1:1/", &["billing"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("connect: "), "{}", said.err);
    for said in [
        shell.test(&refusing.url(), &["bilking"]),
        shell.billing(&["webhook", "show", "bilking"]),
    ] {
        assert_ne!(said.code, 0);
        assert!(!said.err.contains("canary"), "{}", said.err);
    }
    let said = shell.test(&refusing.url(), &["bilking"]);
    assert!(said.err.contains("did you mean billing?"), "{}", said.err);
    let said = shell.test(&refusing.url(), &["billing", "--type", "job.ended"]);
    assert_eq!(said.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_own_headers_are_sent_and_not_shown() {
    let receiver = Receiver::answering("200 OK", "").await;
    let shell = Shell::migrated();
    let file = shell.folder.path().join("jobtrackd.toml");
    let text = format!(
        "[webhooks.billing]\nurl = \"{}\"\nsecret = \"{SECRET}\"\nallow_private = true\nheaders = {{ x-api-key = \"canary-value\" }}\n",
        receiver.url()
    );
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    let said =
        block_in_place(|| shell.run(&["--config", config, "webhook", "test", "billing"])).done();
    assert!(
        said.out.contains("x-api-key: ***\n") && !said.out.contains("canary"),
        "{}",
        said.out
    );
    assert_eq!(receiver.requests()[0].headers["x-api-key"], "canary-value");
    let shown = shell
        .run(&["--config", config, "webhook", "show", "billing"])
        .done();
    assert!(
        shown.out.contains("x-api-key") && !shown.out.contains("canary"),
        "{}",
        shown.out
    );
}

#[tokio::test]
async fn webhooks_are_listed_with_what_waits_for_them_and_need_no_secret() {
    let shell = two_ended().await;
    let said = shell.billing(&["webhook", "list"]).done();
    let line = said.out.lines().nth(1).unwrap();
    for part in ["billing", "ready", "2", "https://billing.example/hooks"] {
        assert!(line.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("canary"), "{}", said.out);
    let record = &shell.billing(&["webhook", "list", "--json"]).done().json()[0];
    assert_eq!(record["name"], "billing");
    assert_eq!(
        (&record["state"], &record["pending"]),
        (&json!("ready"), &json!(2))
    );
    // One that is in the configuration no more still shows what waits for it.
    let gone = shell.run(&["webhook", "list"]).done();
    assert!(gone.out.contains("not configured"), "{}", gone.out);
    let none = Shell::migrated().run(&["webhook", "list"]).done();
    assert!(none.out.contains("no webhooks"), "{}", none.out);
}

#[tokio::test]
async fn a_webhook_is_disabled_and_enabled_and_what_waits_shows_it() {
    let shell = two_ended().await;
    let off = shell
        .billing(&["webhook", "disable", "billing", "--reason", "they move"])
        .done();
    assert!(off.out.contains("2 events will wait"), "{}", off.out);
    let listed = shell.billing(&["webhook", "list"]).done();
    assert!(
        listed.out.contains("disabled") && listed.out.contains("by an operator: they move"),
        "{}",
        listed.out
    );
    let parked = shell
        .run(&["deliveries", "--state", "disabled", "--json"])
        .done();
    assert_eq!(parked.json().len(), 2);
    let replay = shell.billing(&["replay", "--job", "1"]);
    assert_eq!(replay.code, 1);
    assert!(
        replay.err.contains("jobtrackd webhook enable billing"),
        "{}",
        replay.err
    );
    let on = shell
        .billing(&["webhook", "enable", "billing", "--json"])
        .done();
    assert_eq!(
        on.json(),
        [json!({"name": "billing", "state": "enabled", "deliveries": 2})]
    );
    let pending = shell
        .run(&["deliveries", "--state", "pending", "--json"])
        .done();
    assert_eq!(pending.json().len(), 2);
    let unknown = shell.billing(&["webhook", "enable", "bulling"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("did you mean billing?"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn a_url_is_shown_without_its_secrets_and_one_in_a_file_is_not_read() {
    let shell = Shell::migrated();
    let url = "https://billing.example/hooks/T0Pabcdef0123456789/jobs?token=canary";
    let run = |arguments: &[&str]| {
        Said::from(shell.with_billing(url, arguments).output().unwrap()).done()
    };
    let list = run(&["webhook", "list", "--json"]).json();
    assert_eq!(list[0]["url"], "https://billing.example/hooks/***/jobs");
    let shown = run(&["webhook", "show", "billing"]).out;
    assert!(
        shown.contains("https://billing.example/hooks/***/jobs\n"),
        "{shown}"
    );
    let in_file = |arguments: &[&str]| {
        let mut command = shell.command(arguments);
        command.env("JOBTRACKD__WEBHOOKS__BILLING__URL_FILE", "/nowhere");
        Said::from(command.output().unwrap()).done()
    };
    assert_eq!(
        in_file(&["webhook", "list", "--json"]).json()[0]["url"],
        Value::Null
    );
    assert!(in_file(&["webhook", "list"]).out.contains("in a file"));
    let settings = &in_file(&["webhook", "show", "billing", "--json"]).json()[0]["settings"];
    assert_eq!(
        (&settings["url"], &settings["timeout_ms"]),
        (&Value::Null, &json!(15_000))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_hides_what_the_receiver_repeats_and_the_secret_in_the_path() {
    let body = "no canary-7f3a at /hooks/T0Pabcdef0123456789";
    let reply = format!(
        "HTTP/1.1 500 Oh\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let receiver = Receiver::start(Reply::Whole(reply)).await;
    let shell = Shell::migrated();
    let headers = shell.folder.path().join("headers");
    std::fs::write(&headers, "Authorization: Bearer canary-7f3a\n").unwrap();
    let url = shell.folder.path().join("url");
    let place = format!("http://{}/hooks/T0Pabcdef0123456789", receiver.address);
    std::fs::write(&url, place).unwrap();
    let mut command = shell.command(&["webhook", "test", "billing"]);
    command
        .env("JOBTRACKD__WEBHOOKS__BILLING__SECRET", SECRET)
        .env("JOBTRACKD__WEBHOOKS__BILLING__ALLOW_PRIVATE", "true")
        .env("JOBTRACKD__WEBHOOKS__BILLING__URL_FILE", &url)
        .env("JOBTRACKD__WEBHOOKS__BILLING__HEADERS_FILE", &headers);
    let said = block_in_place(|| Said::from(command.output().unwrap()));
    let [request] = receiver.requests().try_into().unwrap();
    assert_eq!(request.headers["authorization"], "Bearer canary-7f3a");
    assert!(
        said.out.starts_with("POST /hooks/*** HTTP/1.1\n"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("\nno *** at /hooks/***\n"),
        "{}",
        said.out
    );
    let all = format!("{}{}", said.out, said.err);
    assert!(!all.contains("7f3a") && !all.contains("T0P"), "{all}");
}
