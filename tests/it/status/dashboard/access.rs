//! Tokens, sessions of browsers, and pages of other sites.

use std::time::Duration;

use reqwest::Method;

use super::{MINUTE, PAGES, answer, browsing, form, page};
use crate::status::client::{Answer, Listener, request};
use crate::support::world::World;

const OPERATE: &str = "operate-7f3a-9c1e-0d2b";

const READ: &str = "read-44aa-1b2c-3d4e-5f6a";

async fn with_tokens() -> World {
    let mut world = World::new().await;
    world.status = format!("listen = \"127.0.0.1:0\"\ntoken = \"{OPERATE}\"");
    world.more = format!("[status.tokens.reader]\ntoken = \"{READ}\"");
    world.start().await;
    world
}

/// The cookie of a session that is opened with this token.
async fn session(world: &mut World, token: &str) -> String {
    let request = form(
        world,
        "/dashboard/sign-in",
        &format!("to=%2F&token={token}"),
    );
    let signed_in = answer(world, request).await;
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    let cookie = signed_in.header("set-cookie").to_owned();
    for attribute in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=43200",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains(token));
    cookie.split(';').next().unwrap().to_owned()
}

async fn with_cookie(world: &mut World, path: &str, cookie: &str) -> Answer {
    let request = browsing(world, Method::GET, path).header("cookie", cookie);
    answer(world, request).await
}

#[tokio::test(start_paused = true)]
async fn without_a_session_a_browser_gets_the_form_and_after_it_the_page_it_wanted() {
    let mut world = with_tokens().await;
    for path in PAGES {
        let page = page(&mut world, path).await;
        assert_eq!(page.status, 401, "{path}: {page:?}");
        assert!(
            page.text.contains("name=\"token\" type=\"password\""),
            "{page:?}"
        );
        assert!(
            page.text.contains(&format!("name=\"to\" value=\"{path}\"")),
            "{page:?}"
        );
        assert!(!page.text.contains("Overview"), "{page:?}");
        let program = request(&mut world, Method::GET, path);
        answer(&world, program)
            .await
            .refused(401, "unauthorized-access");
    }
    let elsewhere = form(
        &mut world,
        "/dashboard/sign-in",
        &format!("to=%2F%2Fevil.example&token={OPERATE}"),
    );
    assert_eq!(answer(&world, elsewhere).await.header("location"), "/");
    let cookie = session(&mut world, OPERATE).await;
    for path in PAGES {
        let page = with_cookie(&mut world, path, &cookie).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(!page.text.contains(OPERATE) && !page.text.contains(READ));
    }
    let api = with_cookie(&mut world, "/jobs", &cookie).await;
    assert_eq!(api.status, 401, "a session is for pages alone");
    let stranger = form(&mut world, "/dashboard/sign-out", "");
    let stranger = answer(&world, stranger).await;
    assert!(
        !format!("{stranger:?}").contains("set-cookie"),
        "the names of cookies are for those who have them: {stranger:?}"
    );
    let out = form(&mut world, "/dashboard/sign-out", "").header("cookie", &cookie);
    let out = answer(&world, out).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token_and_after_twelve_hours_unless_it_is_used() {
    let mut world = with_tokens().await;
    let cookie = session(&mut world, READ).await;
    world.pass(Duration::from_secs(11 * 3600)).await;
    let used = with_cookie(&mut world, "/", &cookie).await;
    let renewed = used
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    world.pass(Duration::from_secs(2 * 3600)).await;
    assert_eq!(with_cookie(&mut world, "/", &cookie).await.status, 401);
    assert_eq!(with_cookie(&mut world, "/", &renewed).await.status, 200);
    let forged = renewed.replace(|c: char| c.is_ascii_uppercase(), "A");
    assert_eq!(with_cookie(&mut world, "/", &forged).await.status, 401);
    world.more = world.more.replace(READ, "another-token-of-the-reader");
    world.reload();
    assert_eq!(with_cookie(&mut world, "/", &renewed).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token_and_those_of_others_go_on() {
    let mut world = with_tokens().await;
    let clock = world.clock.clone();
    let mut open = Vec::new();
    for token in [READ, OPERATE] {
        let cookie = session(&mut world, token).await;
        let request = browsing(&mut world, Method::GET, "/dashboard/live?page=%2F");
        open.push(Listener::open(request.header("cookie", cookie), &clock).await);
        let request = browsing(&mut world, Method::GET, "/stream").bearer_auth(token);
        open.push(Listener::open(request, &clock).await);
    }
    let reads = &open[..2];
    world.reload();
    world.more = world.more.replace(READ, "another-token-of-the-reader");
    world.reload();
    for stream in reads {
        stream.ended(&clock).await;
    }
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.until_ended(MINUTE).await;
    world.pass(Duration::from_secs(6)).await;
    open[2].hears(&clock, "Ends").await;
    open[3].hears(&clock, "job.completed").await;
    world.status = "listen = \"127.0.0.1:0\"".to_owned();
    world.more = String::new();
    world.reload();
    open[2].ended(&clock).await;
    open[3].ended(&clock).await;
    // Those who needed no token need one after the next reload.
    let request = browsing(&mut world, Method::GET, "/stream");
    let local = Listener::open(request, &clock).await;
    world.status = format!("listen = \"127.0.0.1:0\"\ntoken = \"{OPERATE}\"");
    world.reload();
    local.ended(&clock).await;
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_counted_and_then_even_a_right_one_waits() {
    let mut world = with_tokens().await;
    for _ in 0..5 {
        let wrong = form(
            &mut world,
            "/dashboard/sign-in",
            "token=wrong-wrong-wrong-wrong",
        );
        let wrong = answer(&world, wrong).await;
        assert_eq!(wrong.status, 401);
        assert!(!wrong.text.contains("wrong-wrong") && !wrong.headers.contains_key("set-cookie"));
    }
    let right = form(
        &mut world,
        "/dashboard/sign-in",
        &format!("token={OPERATE}"),
    );
    let limited = answer(&world, right).await;
    assert_eq!(limited.status, 429, "{limited:?}");
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait) && limited.text.contains("Too many attempts failed"));
    world.pass(Duration::from_secs(wait)).await;
    session(&mut world, OPERATE).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_only_read_sees_no_forms_and_changes_nothing() {
    let mut world = with_tokens().await;
    world.enqueue("j").await;
    let reader = session(&mut world, READ).await;
    let seen = with_cookie(&mut world, "/dashboard/jobs/j", &reader).await;
    assert!(
        seen.text.contains("reader (read)") && !seen.text.contains("Poll now"),
        "{seen:?}"
    );
    let cancel = form(&mut world, "/dashboard/jobs/j/cancel", "").header("cookie", &reader);
    let cancel = answer(&world, cancel).await;
    assert_eq!(cancel.status, 403, "{cancel:?}");
    assert!(
        cancel.text.contains("The token reader may only read;"),
        "{cancel:?}"
    );
    let enqueue = request(&mut world, Method::POST, "/jobs").body("{\"id\":\"k\"}");
    let enqueue = enqueue.bearer_auth(READ);
    answer(&world, enqueue)
        .await
        .refused(403, "permission-denied");
    let list = request(&mut world, Method::GET, "/jobs").bearer_auth(READ);
    assert_eq!(answer(&world, list).await.status, 200);
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE cancel_requested = 1 OR id = 'k'")
            .await,
        "0"
    );
    let operator = session(&mut world, OPERATE).await;
    let cancel = form(&mut world, "/dashboard/jobs/j/cancel", "").header("cookie", &operator);
    assert_eq!(answer(&world, cancel).await.status, 303);
    let history = with_cookie(&mut world, "/dashboard/operators", &reader).await;
    assert!(
        history.text.contains("Job j will be cancelled."),
        "{history:?}"
    );
    assert!(history.text.contains(">token</td>"), "{history:?}");
}

#[tokio::test(start_paused = true)]
async fn forms_come_from_pages_of_this_server_only() {
    let mut world = World::running().await;
    world.enqueue("j").await;
    let path = "/dashboard/jobs/j/cancel";
    let address = world.daemon().status_address().unwrap();
    let bare = |world: &mut World| browsing(world, Method::POST, path).body("");
    let encoded = "application/x-www-form-urlencoded";
    let own = format!("http://{address}");
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("content-type", encoded)], 403),
        (&[("content-type", encoded), ("origin", "null")], 403),
        (
            &[("content-type", encoded), ("origin", "http://evil.example")],
            403,
        ),
        (
            &[("content-type", encoded), ("sec-fetch-site", "none")],
            403,
        ),
        (
            &[
                ("content-type", encoded),
                ("sec-fetch-site", "same-site"),
                ("origin", &own),
            ],
            403,
        ),
        (&[("content-type", "text/plain"), ("origin", &own)], 415),
        (
            &[("content-type", encoded), ("sec-fetch-site", "same-origin")],
            303,
        ),
    ];
    for (headers, status) in cases {
        let mut request = bare(&mut world);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(answer(&world, request).await.status, status, "{headers:?}");
        let requested = world
            .value("SELECT cancel_requested OR finished_at IS NOT NULL FROM jobs")
            .await;
        assert_eq!(requested == "1", status == 303, "{headers:?}");
    }
    // The rule of the other routes stands.
    let other = browsing(&mut world, Method::POST, "/jobs").header("content-type", encoded);
    let other = other.header("sec-fetch-site", "same-origin").body("id=k");
    answer(&world, other)
        .await
        .refused(415, "unsupported-content-type");
}

#[tokio::test(start_paused = true)]
async fn a_link_of_another_site_opens_a_page_and_nothing_else() {
    let mut world = World::running().await;
    let cases = [
        ("/dashboard/jobs?state=failed", "document", 200),
        ("/dashboard/jobs?state=failed", "iframe", 403),
        ("/dashboard/replay?webhook=all&since=30d", "document", 403),
        ("/dashboard/cancel-jobs", "document", 403),
        ("/jobs", "document", 403),
    ];
    for (path, dest, status) in cases {
        let request = browsing(&mut world, Method::GET, path)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", dest);
        let found = answer(&world, request).await;
        assert_eq!(found.status, status, "{path} in {dest}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_at_another_port_of_the_same_host_is_another_site() {
    let mut world = World::new().await;
    world.status = "listen = \"127.0.0.1:0\"\nhosts = [\"jobs.internal\"]".to_owned();
    world.start().await;
    world.enqueue("j").await;
    for (origin, status) in [
        ("http://jobs.internal:9999", 403),
        ("http://jobs.internal", 303),
    ] {
        let request = browsing(&mut world, Method::POST, "/dashboard/jobs/j/cancel")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "jobs.internal")
            .header("origin", origin)
            .body("");
        assert_eq!(answer(&world, request).await.status, status, "{origin}");
    }
}

/// Browsers keep the cookie back when another site leads to a page.
#[tokio::test(start_paused = true)]
async fn a_link_of_another_site_opens_the_page_for_whoever_is_signed_in() {
    let mut world = with_tokens().await;
    let cookie = session(&mut world, OPERATE).await;
    let path = "/dashboard/jobs?state=failed";
    let followed = browsing(&mut world, Method::GET, path)
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document");
    let first = answer(&world, followed).await;
    assert_eq!(
        (first.status, first.header("refresh")),
        (200, "0; url=/dashboard/jobs?state=failed")
    );
    assert!(!first.text.contains("Jobs</a>"), "{first:?}");
    let refreshed = browsing(&mut world, Method::GET, path).header("sec-fetch-site", "same-origin");
    let stranger = refreshed.try_clone().unwrap();
    assert_eq!(answer(&world, stranger).await.status, 401);
    assert_eq!(
        answer(&world, refreshed.header("cookie", &cookie))
            .await
            .status,
        200
    );
}
