//! What a webhook's answer may ask for, and what is kept of it.

use jobtrackd::simulator::Reply;

use super::{HOUR, MINUTE, SECOND, delivering_world, done, webhook};

/// An answer that asks for this.
fn wish(status: u16, wish: &str) -> Reply {
    Reply::once("all", status).with_header("webhook-delivery", wish)
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_asks_to_be_disabled_is_whatever_the_status() {
    for (status, first) in [(200, "delivered"), (500, "disabled"), (429, "disabled")] {
        let mut world = delivering_world("events = [\"*\"]", "").await;
        world.sink.reply(wish(status, "disable"));
        done(&mut world, "j").await;
        world.pass(SECOND).await;
        done(&mut world, "later").await;
        world.pass(HOUR).await;
        assert_eq!(world.sink.requests("all").len(), 1, "{status}");
        let states = world
            .rows("SELECT state FROM deliveries ORDER BY job_id, sequence")
            .await;
        let expected = [[first], ["disabled"], ["disabled"], ["disabled"]];
        assert_eq!(states, expected, "{status}");
        let why = world.value("SELECT disabled_reason FROM webhooks").await;
        assert_eq!(why, "the webhook asked for it (webhook-delivery: disable)");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_wanted_is_given_up_and_the_next_one_goes() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.sink.reply(wish(422, "abort-message"));
    world.sink.reply(wish(200, "abort-message"));
    done(&mut world, "j").await;
    world.until_ended(MINUTE).await;
    let rows = world
        .rows("SELECT state, attempts, retries_used, last_error FROM deliveries ORDER BY sequence")
        .await;
    let unwanted = "status: 422 Unprocessable Entity; the webhook does not want this event";
    assert_eq!(rows[0], ["exhausted", "1", "0", unwanted]);
    assert_eq!(
        rows[1],
        ["delivered", "1", "0", "-"],
        "a 2xx is one whatever it says"
    );
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_kept_escaped_and_without_what_we_sent_as_secrets() {
    let lines = "events = [\"job.completed\"]\nheaders = { x-api-key = \"canary-in-a-header\" }";
    let mut world =
        delivering_world(lines, &webhook("other", "events = [\"job.completed\"]")).await;
    let echo = "you sent canary-in-a-header\n\u{1b}[31mred\u{202e}";
    world.sink.reply(Reply::once("all", 500).with_body(echo));
    let long = Reply::once("other", 200).with_body(&"x".repeat(20_000));
    world.sink.reply(long);
    done(&mut world, "j").await;
    world.until_ended(MINUTE).await;
    let rows = world
        .rows("SELECT webhook, number, answer, answer_cut FROM attempts ORDER BY webhook, number")
        .await;
    let kept = r"you sent ***\n\u{1b}[31mred\u{202e}";
    assert_eq!(rows[0], ["all", "1", kept, "-"]);
    assert_eq!(rows[1], ["all", "2", "-", "-"], "no body, nothing kept");
    let long = "x".repeat(16_384);
    assert_eq!(rows[2], ["other", "1", &long, "too_large"]);
    let (_, timeline) = world.get("/jobs/j/timeline").await;
    assert!(timeline.to_string().contains(r"you sent ***"), "{timeline}");
    let database = std::fs::read(world.database()).unwrap();
    let canary = b"canary-in-a-header";
    assert!(!database.windows(canary.len()).any(|part| part == canary));
}

#[tokio::test(start_paused = true)]
async fn attempts_say_which_they_are_and_belong_to_one_trace() {
    let mut world = delivering_world("events = [\"job.completed\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""), (500, "")]);
    done(&mut world, "j").await;
    world.until_ended(MINUTE).await;
    let sent = world.sink.requests("all");
    let numbers: Vec<&str> = sent
        .iter()
        .map(|each| each.header("webhook-attempt"))
        .collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let traces: Vec<&str> = sent.iter().map(|each| each.header("traceparent")).collect();
    let id = sent[0].id.strip_prefix("evt_").unwrap();
    assert!(
        traces
            .iter()
            .all(|trace| trace.starts_with(&format!("00-{id}-")))
    );
    assert!(traces[0] != traces[1] && traces[1] != traces[2]);
    assert!(sent.iter().all(|each| each.header("webhook-replay") == "-"));
}
