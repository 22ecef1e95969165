//! Entity tags, and 304 to those who have the answer already.

use jobtrackd::simulator::{NewJob, Scenario};
use reqwest::Method;

use super::{Answer, Stage};

async fn unless(stage: &Stage, path: &str, tags: &str) -> Answer {
    let request = stage.request(Method::GET, path);
    let request = request.header("if-none-match", tags);
    stage.send(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_known_is_304_until_it_changes() {
    for (dialect, path) in [
        ("azure", "/operations/j"),
        ("openai-batch", "/v1/batches/j"),
        ("json", "/tasks/j"),
    ] {
        let stage = Stage::speaking(dialect).await;
        let new = NewJob::of(Scenario::Success).with_id("j").within_ms(60_000);
        stage.control.create(new).unwrap();
        let whole = stage.get(path).await;
        let etag = whole.header("etag").unwrap().to_owned();
        for tags in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let short = unless(&stage, path, &tags).await;
            assert_eq!((short.status.as_u16(), &*short.text), (304, ""), "{tags}");
            assert_eq!(short.header("etag"), Some(&*etag));
            assert_eq!(short.header("retry-after"), whole.header("retry-after"));
        }
        assert_eq!(unless(&stage, path, "\"x\"").await.text, whole.text);
        stage.later(60_000).await;
        let ended = unless(&stage, path, &etag).await;
        assert_eq!(ended.status.as_u16(), 200, "{dialect}");
        assert_ne!(ended.header("etag"), Some(&*etag));
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_status_is_the_state_only_a_200_has_a_tag() {
    let stage = Stage::speaking("http-status").await;
    let new = NewJob::of(Scenario::NeverEnds).with_id("j").within_ms(0);
    stage.control.create(new).unwrap();
    assert_eq!(stage.get("/j").await.header("etag"), None);
    assert_eq!(unless(&stage, "/j", "*").await.status.as_u16(), 202);
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_a_whole_answer() {
    let stage = Stage::plain().await;
    let new = NewJob::of(Scenario::NeverEnds).with_id("j").within_ms(0);
    stage.control.create(new).unwrap();
    let etag = stage
        .get("/jobs/j")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let fault = serde_json::from_str(r#"{"job":"j","times":1,"fault":"truncated"}"#).unwrap();
    stage.control.inject(fault).unwrap();
    let cut = unless(&stage, "/jobs/j", &etag).await;
    assert_eq!((cut.status.as_u16(), cut.header("etag")), (200, None));
    assert_eq!(unless(&stage, "/jobs/j", &etag).await.status.as_u16(), 304);
}
