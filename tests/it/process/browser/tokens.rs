//! Signing in and out, and what is offered to whom.

use rustix::process::Signal;

use super::page::Page;
use super::scene::Scene;
use crate::process::house::House;

const OPERATE: &str = "operate-canary-7f3a-9c1e";

const READ: &str = "read-canary-44aa-1b2c";

/// Forms that change something, apart from signing out.
const FORMS: &str = "document.querySelectorAll('main form[method=post]').length";

async fn with_tokens() -> Scene {
    let mut house = House::new().await;
    house.set("status", "token", OPERATE);
    house.set("status.tokens.wallboard", "token", READ);
    let scene = Scene::of(house).await;
    scene.asks().await;
    scene
}

async fn sign_in(page: &Page, token: &str) {
    page.until(
        "the field has the focus",
        "document.activeElement.id === 'token'",
    )
    .await;
    page.types(token).await;
    page.press("Enter").await;
}

#[tokio::test]
async fn a_browser_signs_in_once_acts_and_signs_out() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = with_tokens().await;
    let job = format!("{}/dashboard/jobs/asks", scene.url);
    page.go(&job).await;
    sign_in(&page, "wrong-canary-0000-0000").await;
    page.shows("That is not a token of this server.").await;
    sign_in(&page, OPERATE).await;
    page.is_live().await;
    assert_eq!(page.text_of("location.href").await, job);
    assert_eq!(
        page.eval("document.cookie").await,
        "",
        "no script can read it"
    );
    let markup = page.text_of("document.documentElement.outerHTML").await;
    assert!(!markup.contains("canary"), "{markup}");
    page.click("#poll-now").await;
    page.shows("Job asks is polled now.").await;
    page.click(".who button").await;
    page.shows("Sign in").await;
    page.go(&job).await;
    page.until("it is asked again", "!!document.getElementById('token')")
        .await;
    assert!(
        !page
            .text_of("document.body.innerText")
            .await
            .contains("asks")
    );
}

#[tokio::test]
async fn who_may_only_read_is_offered_nothing_that_would_be_refused() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = with_tokens().await;
    page.go(&scene.url).await;
    sign_in(&page, READ).await;
    page.is_live().await;
    assert_eq!(
        page.complaints().len(),
        1,
        "the status 401 of the page that asks for the token"
    );
    page.shows("wallboard (read)").await;
    for path in [
        "/",
        "/dashboard/jobs",
        "/dashboard/jobs/asks",
        "/dashboard/webhooks/all",
        "/dashboard/events",
    ] {
        page.go(&format!("{}{path}", scene.url)).await;
        page.is_live().await;
        assert_eq!(page.eval(FORMS).await, 0, "{path}");
        let asks = page.eval("[...document.querySelectorAll('main form')].map((form) => form.getAttribute('action')).join()").await;
        assert!(
            ["", "/dashboard/jobs", "/dashboard/events"]
                .map(Into::into)
                .contains(&asks),
            "{path}: {asks}"
        );
    }
    assert_eq!(page.complaints(), [""; 0]);
}

#[tokio::test]
async fn without_a_token_everything_is_offered_to_everybody() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    scene.asks().await;
    page.go(&format!("{}/dashboard/jobs/asks", scene.url)).await;
    page.is_live().await;
    assert_eq!(
        page.eval("!!document.querySelector('.who button')").await,
        false
    );
    assert!(page.eval(FORMS).await.as_u64() >= Some(3));
}

#[tokio::test]
async fn a_page_that_is_open_asks_for_the_token_once_a_reload_has_changed_it() {
    let Some(page) = Page::open().await else {
        return;
    };
    let mut scene = with_tokens().await;
    page.go(&scene.url).await;
    sign_in(&page, READ).await;
    page.is_live().await;
    scene.house.set(
        "status.tokens.wallboard",
        "token",
        "another-canary-of-the-wall",
    );
    scene.program.signal(Signal::HUP);
    page.until(
        "it asks for the token",
        "!!document.getElementById('token')",
    )
    .await;
}
