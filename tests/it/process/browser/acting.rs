//! Jobs and webhooks that are helped in the page, which shows it by itself.

use jobtrackd::simulator::Reply;

use super::page::Page;
use super::scene::{ANSWER, Scene};
use crate::process::house::House;

#[tokio::test]
async fn an_answer_given_in_the_page_ends_the_job_live_and_is_nowhere_afterwards() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    scene
        .house
        .sql("INSERT INTO jobs (id) VALUES ('well')")
        .await;
    scene.asks().await;
    page.go(&format!("{}/dashboard/jobs/asks", scene.url)).await;
    page.is_live().await;
    page.shows("Needs an answer: mfa-challenge").await;
    page.eval("document.getElementById('answer-1').focus()")
        .await;
    page.types(ANSWER).await;
    page.press("Enter").await;
    page.shows("The API has taken the answer to job asks").await;
    page.until(
        "the job has ended",
        "!!document.querySelector('#state [data-state=success]')",
    )
    .await;
    page.until(
        "the form is gone",
        "!document.querySelector('#challenge form')",
    )
    .await;
    let has_it = format!(
        "document.documentElement.outerHTML.includes('{ANSWER}') || location.href.includes('{ANSWER}')
         || [...document.querySelectorAll('input, textarea')].some((each) => each.value.includes('{ANSWER}'))"
    );
    assert_eq!(page.eval(&has_it).await, false);
    page.eval("history.back()").await;
    page.until(
        "the page before",
        "!location.search && document.readyState === 'complete'",
    )
    .await;
    assert_eq!(page.eval(&has_it).await, false, "on the way back");
    page.go(&format!("{}/dashboard/operators", scene.url)).await;
    page.shows("answer a challenge").await;
    assert_eq!(page.eval(&has_it).await, false);
    assert_eq!(page.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_webhook_is_disabled_and_enabled_in_the_page_and_its_backlog_goes() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    page.go(&format!("{}/dashboard/webhooks/all", scene.url))
        .await;
    page.is_live().await;
    page.click("#disable summary").await;
    page.eval("document.getElementById('reason').focus()").await;
    page.types("by night").await;
    page.click("#disable button").await;
    page.shows("by an operator: by night").await;
    page.is_live().await;
    scene.house.follow("j", &[(0, &[("a", "success")])]).await;
    page.until(
        "the events wait",
        "document.querySelectorAll('#waiting tbody tr').length === 2",
    )
    .await;
    page.click("#enable").await;
    page.shows("all is enabled; 2 events of those that were disabled will be sent")
        .await;
    page.until("none waits", "!document.querySelector('#waiting tr')")
        .await;
    page.until(
        "they were sent",
        "document.querySelectorAll('#attempts tbody tr').length === 2",
    )
    .await;
    scene.house.until_ended().await;
    assert_eq!(scene.house.sink.received().len(), 2);
}

#[tokio::test]
async fn the_hold_of_a_webhook_is_ended_in_the_page_and_its_backlog_goes() {
    let Some(page) = Page::open().await else {
        return;
    };
    let mut house = House::new().await;
    house.raw("webhooks.all", "retry", "[\"1h\"]");
    house.sink.reply(Reply {
        status: 500,
        times: Some(3),
        ..Reply::default()
    });
    let scene = Scene::of(house).await;
    for id in ["a", "b", "c"] {
        scene.house.follow(id, &[(0, &[("x", "success")])]).await;
    }
    page.go(&format!("{}/dashboard/webhooks/all", scene.url))
        .await;
    page.shows("3 failures in a row; next probe").await;
    page.click("#enable").await;
    page.until("none waits", "!document.querySelector('#waiting tr')")
        .await;
    page.until(
        "it is well",
        "!!document.querySelector('#state [data-state=ready]')",
    )
    .await;
    scene.house.until_ended().await;
}

#[tokio::test]
async fn the_overview_has_what_the_doctor_says_of_the_host_with_its_advice() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    let database = scene.house.database();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&database, everybody).unwrap();
    page.go(&scene.url).await;
    page.shows("everybody on this machine can write it").await;
    let advice =
        "[...document.querySelectorAll('.findings code')].map((each) => each.textContent).join()";
    let advice = page.text_of(advice).await;
    assert!(advice.contains("chmod 660"), "{advice}");
}
