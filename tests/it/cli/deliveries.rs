//! `deliveries`, and what becomes of events that were not delivered: given up, or moved to another webhook.

use serde_json::{Value, json};

use super::Said;
use super::webhook::{steps, two_ended};

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let shell = two_ended().await;
    let all = shell.run(&["deliveries", "--json"]).done().json();
    let jobs: Vec<&str> = all
        .iter()
        .map(|each| each["job_id"].as_str().unwrap())
        .collect();
    assert_eq!(jobs, ["2", "1"]);
    assert_eq!(all[0]["type"], "job.failed");
    assert_eq!(
        (&all[0]["state"], &all[0]["webhook"]),
        (&json!("pending"), &json!("billing"))
    );
    for (filter, count) in [
        (&["--job", "1"][..], 1),
        (&["--type", "job.completed"], 1),
        (&["--webhook", "billing"], 2),
        (&["--webhook", "other"], 0),
        (&["--state", "exhausted"], 0),
        (&["--limit", "1"], 1),
    ] {
        let arguments = [&["deliveries", "--json"], filter].concat();
        assert_eq!(
            shell.run(&arguments).done().json().len(),
            count,
            "{filter:?}"
        );
    }
    let table = shell.run(&["deliveries"]).done().out;
    assert!(
        table.starts_with("AGE") && table.contains("#2 job.failed"),
        "{table}"
    );
    assert_eq!(shell.run(&["deliveries", "--state", "lost"]).code, 2);
}

#[tokio::test]
async fn an_event_is_given_up_by_its_id_and_everything_of_a_webhook_by_its_name() {
    let shell = two_ended().await;
    let id = shell
        .run(&["deliveries", "--job", "1", "--json"])
        .done()
        .json()[0]["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = shell
        .run(&[
            "deliveries",
            "give-up",
            &id,
            "--webhook",
            "billing",
            "--json",
        ])
        .done();
    let expected = json!({"event_id": id, "webhook": "billing", "deliveries": 1});
    assert_eq!(said.json(), [expected]);
    let again = shell.run(&["deliveries", "give-up", &id]).done();
    assert!(
        again.out.contains("no such delivery waits"),
        "{}",
        again.out
    );
    let listed = shell
        .run(&["deliveries", "--state", "exhausted", "--json"])
        .done()
        .json();
    assert_eq!(listed[0]["last_error"], "given up by an operator");
    let unknown = shell.run(&["deliveries", "give-up", "evt_nothing"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("there is no event evt_nothing"),
        "{}",
        unknown.err
    );
    for what in [id.as_str(), "--all"] {
        let misspelt = shell.run(&["deliveries", "give-up", what, "--webhook", "biling"]);
        assert_eq!(misspelt.code, 1);
        let expected = "a webhook biling has no deliveries; did you mean billing?";
        assert!(misspelt.err.contains(expected), "{}", misspelt.err);
    }
    for wrong in [
        &["deliveries", "give-up"][..],
        &["deliveries", "give-up", "--all"],
        &["deliveries", "give-up", "--webhook", "billing"],
        &[
            "deliveries",
            "give-up",
            &id,
            "--all",
            "--webhook",
            "billing",
        ],
    ] {
        assert_eq!(shell.run(wrong).code, 2, "{wrong:?}");
    }
    let all = shell
        .run(&["deliveries", "give-up", "--all", "--webhook", "billing"])
        .done();
    assert!(all.out.contains("1 delivery given up"), "{}", all.out);
    let pending = shell.run(&["deliveries", "--state", "pending", "--json"]);
    assert_eq!(pending.done().json(), [] as [Value; 0]);
}

#[tokio::test]
async fn what_waits_for_a_webhook_is_moved_to_one_that_is_configured() {
    let shell = two_ended().await;
    let invoices = |arguments: &[&str]| -> Said {
        let mut command = shell.command(arguments);
        let url = "https://invoices.example/hooks";
        command.env("JOBTRACKD__WEBHOOKS__INVOICES__URL", url);
        command.output().unwrap().into()
    };
    shell.run(&["enqueue", "3"]).done();
    shell.seen("3", &steps("in-progress")).await;
    shell
        .sql("UPDATE jobs SET webhook = 'billing' WHERE id = '3'")
        .await;
    let moved = invoices(&["webhook", "move", "billing", "invoices", "--json"]).done();
    let expected = json!({"from": "billing", "to": "invoices", "deliveries": 2, "jobs": 1});
    assert_eq!(moved.json(), [expected]);
    let pending = shell
        .run(&["deliveries", "--state", "pending", "--json"])
        .done()
        .json();
    assert!(
        pending.iter().all(|each| each["webhook"] == "invoices"),
        "{pending:?}"
    );
    assert_eq!(pending.len(), 2);
    let again = invoices(&["webhook", "move", "billing", "invoices"]).done();
    assert!(
        again.out.contains("0 events, 0 running jobs"),
        "{}",
        again.out
    );
    for (wrong, says) in [
        (
            ["bulling", "invoices"],
            "there is no webhook bulling; did you mean billing?",
        ),
        (
            ["billing", "invoises"],
            "there is no webhook invoises; did you mean invoices?",
        ),
        (["invoices", "invoices"], "the same webhook"),
    ] {
        let said = invoices(&[&["webhook", "move"], &wrong[..]].concat());
        assert_eq!(said.code, 1);
        assert!(said.err.contains(says), "{}", said.err);
    }
    let back = shell
        .billing(&["webhook", "move", "invoices", "billing"])
        .done();
    assert!(
        back.out
            .contains("billing takes the place of invoices: 2 events, 1 running job"),
        "{}",
        back.out
    );
}
