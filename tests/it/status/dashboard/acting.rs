//! What operators do: the same as the commands, with the same refusals.

use std::time::Duration;

use jobtrackd::simulator::Reply;

use super::{MINUTE, answer, attributes, form, notice, page, submit};
use crate::support::challenges::{ask, done, mfa};
use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn a_job_is_enqueued_polled_and_cancelled() {
    let mut world = World::running().await;
    world.make("j", &[(0, &[("a", "in-progress")])]);
    let fields = "id=j&url=&webhook=all&metadata=%7B%22a%22%3A1%7D&priority=3";
    let done = submit(&mut world, "/dashboard/enqueue", fields).await;
    assert_eq!(notice(&done), "Job j is enqueued.");
    let row = world
        .rows("SELECT webhook, metadata, priority FROM jobs")
        .await;
    assert_eq!(row, [["all", "{\"a\":1}", "3"]]);
    for (fields, refusal) in [
        ("id=j", "There is a job j already; it is not changed."),
        ("id=a%2Fb", "jobs.id must be"),
        ("id=k&webhook=al", "all"),
        ("id=k&priority=x", "priority is a whole number"),
    ] {
        let refused = submit(&mut world, "/dashboard/enqueue", fields).await;
        assert!(
            notice(&refused).contains(refusal),
            "{fields}: {}",
            notice(&refused)
        );
    }
    world
        .until(MINUTE, "SELECT state FROM jobs", "in-progress")
        .await;
    world.pass(MINUTE).await;
    let before = world.polled_at("j").len();
    let polled = submit(&mut world, "/dashboard/jobs/j/poll", "").await;
    assert_eq!(notice(&polled), "Job j is polled now.");
    world.pass(Duration::from_millis(500)).await;
    assert_eq!(world.polled_at("j").len(), before + 1);
    let seen = page(&mut world, "/dashboard/jobs/j").await;
    assert_eq!(attributes(&seen, "data-step"), ["a"]);
    assert!(seen.text.contains("jobtrackd cancel j"), "{seen:?}");
    submit(&mut world, "/dashboard/jobs/j/cancel", "").await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "failed")
        .await;
    let again = submit(&mut world, "/dashboard/jobs/j/cancel", "").await;
    assert_eq!(notice(&again), "Job j has ended already.");
    let ended = page(&mut world, "/dashboard/jobs/j").await;
    assert!(ended.text.contains("Failed: cancelled") && !ended.text.contains("Poll now"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_relayed_and_kept_nowhere() {
    const CANARY: &str = "canary-4711";
    let mut world = World::running().await;
    ask(
        &world.control(),
        "j",
        None,
        &mfa("/jobs/j/mfa"),
        &[CANARY],
        done(),
    );
    world.enqueue("j").await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM events WHERE type = 'job.action_required'",
            "1",
        )
        .await;
    let asking = page(&mut world, "/dashboard/jobs/j").await;
    assert!(
        asking.text.contains("Needs an answer: mfa-challenge"),
        "{asking:?}"
    );
    assert!(
        asking.text.contains("<label for=\"answer-1\">Code</label>"),
        "{asking:?}"
    );
    let overview = page(&mut world, "/").await;
    assert!(
        overview.text.contains("Waiting for an answer"),
        "{overview:?}"
    );
    let path = "/dashboard/jobs/j/answer";
    for (fields, refusal) in [
        ("answer=", "takes 1 answer"),
        ("answer=canary-1&answer=canary-2", "takes 1 answer, not 2"),
        (
            "answer=canary-1&challenge=0123456789abcdef",
            "job j asks for something else by now",
        ),
    ] {
        let refused = submit(&mut world, path, fields).await;
        assert!(
            notice(&refused).contains(refusal),
            "{fields}: {}",
            notice(&refused)
        );
        assert!(!refused.text.contains("canary"), "{refused:?}");
    }
    let mark = asking
        .text
        .split_once("name=\"challenge\" value=\"")
        .unwrap()
        .1;
    let mark = mark.split('"').next().unwrap();
    let shown = format!("answer={CANARY}&challenge={mark}");
    let taken = submit(&mut world, path, &shown).await;
    assert!(
        notice(&taken).starts_with("The API has taken the answer to job j"),
        "{}",
        notice(&taken)
    );
    world.until_ended(MINUTE).await;
    for path in ["/dashboard/operators", "/dashboard/jobs/j"] {
        let seen = page(&mut world, path).await;
        assert!(!seen.text.contains("canary"), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_tested_disabled_and_enabled_and_its_events_are_replayed() {
    let mut world = World::running().await;
    let path = "/dashboard/webhooks/all";
    let tested = submit(&mut world, &format!("{path}/test"), "type=webhook.test").await;
    assert!(
        notice(&tested).contains("all answers 204: an event would be delivered"),
        "{}",
        notice(&tested)
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM attempts WHERE \"trigger\" = 'test'")
            .await,
        "1"
    );
    let off = submit(&mut world, &format!("{path}/disable"), "reason=by+night").await;
    assert!(
        notice(&off).contains("jobtrackd webhook enable all"),
        "{}",
        notice(&off)
    );
    assert!(off.text.contains("by an operator: by night"), "{off:?}");
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "success")
        .await;
    let on = submit(&mut world, &format!("{path}/enable"), "").await;
    assert_eq!(
        notice(&on),
        "all is enabled; 2 events of those that were disabled will be sent"
    );
    world.until_ended(MINUTE).await;
    let counted = page(&mut world, "/dashboard/replay?job=j").await;
    assert!(
        counted.text.contains("2 events will be sent again"),
        "{counted:?}"
    );
    let before = world.sink.received().len();
    let grown = submit(&mut world, "/dashboard/replay", "job=j&events=1").await;
    assert_eq!(
        notice(&grown),
        "1 were confirmed, and 2 match now; count them again"
    );
    let again = submit(&mut world, "/dashboard/replay", "job=j&events=2").await;
    assert!(
        notice(&again).contains("2 events will be sent again"),
        "{}",
        notice(&again)
    );
    world.until_ended(MINUTE).await;
    assert_eq!(world.sink.received().len(), before + 2);
    let wrong = page(&mut world, "/dashboard/replay?webhook=all&since=noon").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("neither how long ago, such as 2h"),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_webhook_move_to_another_one_as_by_the_command() {
    let second = "[webhooks.new]\nurl = \"http://SINK/new\"\nsecret = \"SECRET\"\nallow_private = true\nevents = [\"webhook.test\"]";
    let mut world = World::running_with(second).await;
    let path = "/dashboard/webhooks/all";
    submit(&mut world, &format!("{path}/disable"), "").await;
    world.follow("j", &[(0, &[("a", "success")])]).await;
    let waiting = "SELECT count(*) FROM deliveries WHERE state = 'disabled'";
    world.until(MINUTE, waiting, "2").await;
    let offered = page(&mut world, path).await;
    assert!(offered.text.contains("<option>new</option>"), "{offered:?}");
    for (to, refusal) in [
        ("all", "that is the same webhook"),
        ("nwe", "did you mean new?"),
    ] {
        let refused = submit(&mut world, &format!("{path}/move"), &format!("to={to}")).await;
        assert!(notice(&refused).contains(refusal), "{}", notice(&refused));
    }
    let moved = submit(&mut world, &format!("{path}/move"), "to=new").await;
    assert_eq!(
        notice(&moved),
        "new takes the place of all: 2 events, 0 running jobs. all is still in the configuration and gets new events"
    );
    assert!(moved.text.contains("<h1>Webhook new</h1>"), "{moved:?}");
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM deliveries WHERE webhook = 'new' AND state = 'delivered'",
            "2",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn events_are_given_up_and_what_was_refused_is_in_the_history_too() {
    let mut world = World::running().await;
    let path = "/dashboard/webhooks/all";
    world.sink.reply(Reply {
        status: 500,
        ..Reply::default()
    });
    world.follow("k", &[(0, &[("a", "success")])]).await;
    world
        .until(
            MINUTE,
            "SELECT count(*) > 0 FROM deliveries WHERE job_id = 'k' AND attempts > 0",
            "1",
        )
        .await;
    let waiting = page(&mut world, path).await;
    assert_eq!(attributes(&waiting, "data-event").len(), 2, "{waiting:?}");
    let gone = submit(
        &mut world,
        "/dashboard/give-up",
        "webhook=all&to=%2Fdashboard%2Fwebhooks%2Fall",
    )
    .await;
    assert_eq!(notice(&gone), "2 deliveries given up");
    let unknown = submit(&mut world, "/dashboard/webhooks/al/enable", "");
    assert_eq!(unknown.await.status, 404, "its page is not there");
    let history = page(&mut world, "/dashboard/operators").await;
    assert!(history.text.contains("did you mean all?"), "{history:?}");
    assert_eq!(attributes(&history, "data-operation").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_cancelled_once_their_number_was_confirmed() {
    let mut world = World::running().await;
    for id in ["a-1", "a-2", "a-3", "b-1"] {
        world.follow(id, &[(0, &[("a", "in-progress")])]).await;
    }
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM jobs WHERE state = 'in-progress'",
            "4",
        )
        .await;
    let confirm = page(&mut world, "/dashboard/cancel-jobs?text=a-").await;
    assert!(
        confirm.text.contains("3 jobs will be cancelled."),
        "{confirm:?}"
    );
    world.follow("a-4", &[(0, &[("a", "in-progress")])]).await;
    let path = "/dashboard/cancel-jobs";
    let refused = submit(&mut world, path, "text=a-&jobs=3").await;
    assert_eq!(
        notice(&refused),
        "3 were confirmed, and 4 match now; count them again"
    );
    let unconfirmed = form(&mut world, path, "text=a-");
    assert_eq!(answer(&world, unconfirmed).await.status, 400);
    let done = submit(&mut world, path, "text=a-&jobs=4").await;
    assert_eq!(notice(&done), "4 jobs will be cancelled");
    let ended =
        "SELECT count(*) FROM jobs WHERE state = 'failed' AND failure ->> 'kind' = 'cancelled'";
    world.until(MINUTE, ended, "4").await;
    assert_eq!(
        world.value("SELECT state FROM jobs WHERE id = 'b-1'").await,
        "in-progress"
    );
    let failed = page(&mut world, "/dashboard/jobs?failure=cancelled&text=a-").await;
    assert_eq!(attributes(&failed, "data-job").len(), 4);
}

/// Rows may name anything, and what a form names is that.
#[tokio::test(start_paused = true)]
async fn what_is_named_with_a_blank_is_another_webhook() {
    let mut world = World::running().await;
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('strange', ' all')")
        .await;
    world.make("strange", &[(0, &[("a", "success")])]);
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM deliveries WHERE state = 'delivered'",
            "2",
        )
        .await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM deliveries WHERE webhook = ' all'",
            "1",
        )
        .await;
    let counted = page(&mut world, "/dashboard/replay?webhook=%20all&since=1h").await;
    assert!(
        counted.text.contains("1 event will be sent again"),
        "{counted:?}"
    );
    let gone = submit(&mut world, "/dashboard/give-up", "webhook=+all&to=%2F").await;
    assert_eq!(notice(&gone), "1 delivery given up");
    let cancel = page(&mut world, "/dashboard/cancel-jobs?webhook=%20all").await;
    assert!(cancel.text.contains("No job that matches"), "{cancel:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_may_have_any_name_and_its_page_is_its_own() {
    let mut world = World::running().await;
    for id in ["cancel", "cancel-jobs", "enqueue", "json", "timeline"] {
        world.enqueue(id).await;
        let seen = page(&mut world, &format!("/dashboard/jobs/{id}")).await;
        assert!(
            seen.text
                .contains(&format!("<span class=\"id\">{id}</span>")),
            "{seen:?}"
        );
        let polled = submit(&mut world, &format!("/dashboard/jobs/{id}/poll"), "").await;
        assert_eq!(notice(&polled), format!("Job {id} is polled now."));
        let history = page(&mut world, &format!("/dashboard/jobs/{id}/timeline")).await;
        assert_eq!(history.json()["type"], "list");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_shown_on_its_page_and_on_no_other() {
    let mut world = World::running().await;
    world.enqueue("j").await;
    let request = form(&mut world, "/dashboard/jobs/j/poll", "");
    let sent = answer(&world, request).await;
    let (_, number) = sent.header("location").split_once("done=").unwrap();
    for (path, is_shown) in [
        ("/dashboard/jobs/j", true),
        ("/dashboard/jobs", false),
        ("/", false),
    ] {
        let page = page(&mut world, &format!("{path}?done={number}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.text.contains("id=\"notice\""), is_shown, "{path}");
    }
}
