//! The dashboard as a browser without scripts uses it: pages, forms, who may see and do what, and the stream behind pages.

mod access;
mod acting;
mod live;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};

use super::client::{Answer, answer, get};
use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// All pages that have no parameters.
const PAGES: [&str; 6] = [
    "/",
    "/dashboard/jobs",
    "/dashboard/webhooks",
    "/dashboard/webhooks/all",
    "/dashboard/events",
    "/dashboard/operators",
];

/// A request of a browser that follows no redirection and keeps no cookie.
fn browsing(world: &mut World, method: Method, path: &str) -> RequestBuilder {
    let address = world.daemon().status_address().unwrap();
    jobtrackd::tls::install_provider();
    let client = Client::builder().no_proxy().redirect(Policy::none());
    let client = client.build().unwrap();
    let request = client.request(method, format!("http://{address}{path}"));
    request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
}

async fn page(world: &mut World, path: &str) -> Answer {
    let request = browsing(world, Method::GET, path);
    answer(world, request).await
}

/// A form as a page of the server sends it.
fn form(world: &mut World, path: &str, fields: &str) -> RequestBuilder {
    let address = world.daemon().status_address().unwrap();
    browsing(world, Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", format!("http://{address}"))
        .body(fields.to_owned())
}

/// Sends a form and reads the page that it leads to.
async fn submit(world: &mut World, path: &str, fields: &str) -> Answer {
    let request = form(world, path, fields);
    let sent = answer(world, request).await;
    assert_eq!(sent.status, 303, "{path}: {sent:?}");
    let to = sent.header("location").to_owned();
    page(world, &to).await
}

/// The text of the notice above a page.
fn notice(page: &Answer) -> String {
    let (_, from) = page.text.split_once("id=\"notice\"><p>").unwrap();
    from.split_once("</p>").unwrap().0.to_owned()
}

/// The values of an attribute, in order.
fn attributes(page: &Answer, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let parts = page.text.split(start.as_str()).skip(1);
    let values = parts.filter_map(|part| part.split_once('"'));
    values
        .map(|(value, _)| value.replace("&amp;", "&"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_page_is_whole_without_scripts_and_shows_texts_from_outside_as_text() {
    let mut world = World::running().await;
    let hostile = r#"{"x":"<script>alert(1)</script>"}"#;
    let job = format!("INSERT INTO jobs (id, metadata) VALUES ('j', '{hostile}')");
    world.make("j", &[(0, &[("<img src=x onerror=alert(2)>", "success")])]);
    world.sql(&job).await;
    world.until_ended(MINUTE).await;
    for path in PAGES.into_iter().chain(["/dashboard/jobs/j"]) {
        let page = page(&mut world, path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("cache-control"), "no-store");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(page.header("x-frame-options"), "DENY");
        for piece in [
            "<!DOCTYPE html><html lang=\"en\">",
            "<title>",
            "<h1>",
            "<main id=\"main\"",
            "href=\"#main\"",
            "aria-current=\"page\"",
        ] {
            assert!(page.text.contains(piece), "{path}: {piece}");
        }
        // Nothing inside the page, and nothing from elsewhere.
        for never in [
            "<script>", "<style", " style=", "<img", " onclick", "=\"http", "=\"//",
        ] {
            assert!(!page.text.contains(never), "{path}: {never}");
        }
        for asset in attributes(&page, "href")
            .into_iter()
            .chain(attributes(&page, "src"))
        {
            if asset.starts_with("/dashboard/assets/") {
                let asset = get(&mut world, &asset).await;
                assert_eq!(asset.status, 200);
                assert!(asset.header("cache-control").contains("immutable"));
            }
        }
    }
    let job = page(&mut world, "/dashboard/jobs/j").await;
    assert!(
        job.text.contains("&lt;img src=x onerror=alert(2)&gt;"),
        "{job:?}"
    );
    assert!(job.text.contains("&lt;script&gt;alert(1)"), "{job:?}");
    for path in [
        "/dashboard/jobs/none",
        "/dashboard/webhooks/none",
        "/dashboard/none",
    ] {
        assert_eq!(page(&mut world, path).await.status, 404, "{path}");
    }
    let wrong = page(&mut world, "/dashboard/jobs?state=running").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("state is pending, in-progress"),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_by_links_forward_and_back_and_keeps_its_filters() {
    let mut world = World::new().await;
    world.start().await;
    let rows: Vec<String> = (0..120).map(|n| format!("('job-{n:03}', 0)")).collect();
    let insert = format!("INSERT INTO jobs (id, priority) VALUES {}", rows.join(", "));
    world.sql(&insert).await;
    let (mut path, mut seen, mut pages) = (
        "/dashboard/jobs?text=job-".to_owned(),
        Vec::new(),
        Vec::new(),
    );
    loop {
        let page = page(&mut world, &path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let jobs = attributes(&page, "data-job");
        // On the first page those whose id begins with the text come first, as well.
        let from = if pages.is_empty() { jobs.len() - 50 } else { 0 };
        seen.extend(jobs[from..].to_vec());
        pages.push(path.clone());
        let next = page.text.split_once("rel=\"next\" href=\"");
        let Some((_, next)) = next else {
            let back = page.text.split_once("rel=\"prev\" href=\"").unwrap().1;
            let back = back.split_once('"').unwrap().0.replace("&amp;", "&");
            assert_eq!(back.split("&trail").next(), pages[1].split("&trail").next());
            break;
        };
        path = next.split_once('"').unwrap().0.replace("&amp;", "&");
        assert!(path.contains("text=job-"), "{path}");
    }
    let all = world
        .rows("SELECT id FROM jobs ORDER BY created_at DESC, id DESC")
        .await;
    seen.dedup();
    assert_eq!((seen, pages.len()), (all.concat(), 3));
    let none = page(&mut world, "/dashboard/jobs?state=&text=nowhere").await;
    assert!(none.text.contains("No job matches."), "{none:?}");
    let failed = page(&mut world, "/dashboard/jobs?failure=expired").await;
    assert_eq!(attributes(&failed, "data-job"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_by_the_time_of_their_end_the_latest_first() {
    let mut world = World::running().await;
    for (id, ends) in [("late", 90_000), ("early", 20_000), ("never", 4_000_000)] {
        let phases = [
            (0, &[("a", "in-progress")][..]),
            (ends, &[("a", "success")]),
        ];
        world.follow(id, &phases).await;
    }
    world
        .until(
            5 * MINUTE,
            "SELECT count(*) FROM jobs WHERE finished_at > 0",
            "2",
        )
        .await;
    let all = page(&mut world, "/dashboard/jobs?ended_since=2026-11-22T15:04Z").await;
    assert_eq!(attributes(&all, "data-job"), ["late", "early"], "{all:?}");
    let early = "/dashboard/jobs?ended_since=2026-11-22T15:04Z&ended_until=2026-11-22T15:05Z";
    assert_eq!(
        attributes(&page(&mut world, early).await, "data-job"),
        ["early"]
    );
    let failed = page(&mut world, &format!("{early}&state=failed")).await;
    assert!(failed.text.contains("No job matches."), "{failed:?}");
    let cancel = "/dashboard/cancel-jobs?ended_since=2026-11-22T15:04Z";
    let cancel = page(&mut world, cancel).await;
    assert!(
        cancel
            .text
            .contains("No job that matches is still followed"),
        "{cancel:?}"
    );
    let recent = page(&mut world, "/dashboard/jobs?ended_since=1m").await;
    assert_eq!(attributes(&recent, "data-job"), ["late"], "{recent:?}");
    for none in [
        "state=pending&failure=step",
        "state=success&failure=expired",
    ] {
        let none = page(&mut world, &format!("/dashboard/jobs?{none}")).await;
        assert!(none.text.contains("No job matches."), "{none:?}");
    }
    let wrong = page(&mut world, "/dashboard/jobs?ended_since=noon").await;
    assert!(
        wrong
            .text
            .contains("ended_since is how long ago, such as 2h, or a time"),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_overview_says_what_is_wrong_first_and_what_to_do() {
    let mut world = World::running().await;
    let well = page(&mut world, "/").await;
    assert!(
        well.text
            .contains("All is well: 0 jobs followed, 1 webhook configured"),
        "{well:?}"
    );
    world.follow("j", &[(0, &[("a", "failed")])]).await;
    world.until_ended(MINUTE).await;
    world.sql("UPDATE webhooks SET disabled_at = 1795359845000, disabled_reason = 'gone' WHERE name = 'all'").await;
    world.sql("INSERT OR IGNORE INTO webhooks (name, disabled_at, disabled_reason) VALUES ('all', 1795359845000, 'gone')").await;
    // Nobody has looked for a minute: what was counted then is not shown as of now.
    world.pass(MINUTE).await;
    let broken = page(&mut world, "/").await;
    assert!(
        broken.text.contains("Webhook all is disabled: gone"),
        "{broken:?}"
    );
    assert!(broken.text.contains("href=\"/dashboard/webhooks/all\""));
    assert!(
        broken
            .text
            .contains("/dashboard/jobs?state=failed&amp;failure=step"),
        "{broken:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_of_very_many_steps_has_a_page_with_those_around_the_present_one() {
    let mut world = World::running().await;
    world
        .sql("INSERT INTO jobs (id, not_before) VALUES ('j', 4102444800000)")
        .await;
    let steps = "WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 9999)";
    for table in [
        "INSERT INTO steps (job_id, title, occurrence, position, status, class, first_seen_at, updated_at)
         SELECT 'j', 'again', i, i, iif(i < 5000, 'success', 'pending'), iif(i < 5000, 'done', 'pending'), 0, i FROM n",
        "INSERT INTO transitions (job_id, seq, title, occurrence, position, from_status, to_status, class, observed_at)
         SELECT 'j', i + 1, 'again', i % 5000, i % 5000, iif(i < 5000, NULL, 'in-progress'),
            iif(i < 5000, 'in-progress', 'success'), iif(i < 5000, 'running', 'done'), i % 5000 + i / 5000 * 7000 FROM n",
    ] {
        world.sql(&format!("{steps} {table}")).await;
    }
    let page = page(&mut world, "/dashboard/jobs/j").await;
    assert_eq!(attributes(&page, "data-step").len(), 200);
    for text in [
        "Steps 4901 to 5100 of 10000",
        "5000 of 10000 steps done",
        "9800 earlier",
    ] {
        assert!(page.text.contains(text), "{text}");
    }
    // Each has its own transitions, though all have one title.
    assert_eq!(page.text.matches(">7s</span>").count(), 100);
    assert!(page.text.len() < 400_000, "{}", page.text.len());
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_pages_is_refused_by_a_page_and_programs_by_json() {
    let mut world = World::running().await;
    let give_up = form(&mut world, "/dashboard/give-up", "");
    let no_route = form(&mut world, "/dashboard/none", "");
    let poll = form(&mut world, "/dashboard/jobs/j/poll", "");
    let replay = "/dashboard/replay?webhook=all&since=x";
    let replay = browsing(&mut world, Method::GET, replay);
    let refused = [
        (give_up, 400, "Name an event or a webhook."),
        (no_route, 404, "There is no such route here."),
        (
            poll.header("sec-fetch-site", "cross-site"),
            403,
            "Pages of other sites may not send requests.",
        ),
        (replay, 400, "nor a time"),
    ];
    for (request, status, text) in refused {
        let browser = answer(&world, request).await;
        assert_eq!(browser.status, status, "{browser:?}");
        assert_eq!(browser.header("content-type"), "text/html; charset=utf-8");
        assert!(
            browser
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(
            browser.text.contains(text) && browser.text.contains("To the overview"),
            "{browser:?}"
        );
    }
    let program = get(&mut world, "/dashboard/jobs?state=running").await;
    program.refused(400, "parameter-not-valid");
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_that_is_turned_off_is_not_there_and_a_reload_brings_it_back() {
    let mut world = World::new().await;
    world.status = "listen = \"127.0.0.1:0\"\ndashboard = false".to_owned();
    world.start().await;
    for path in PAGES {
        page(&mut world, path)
            .await
            .refused(404, "resource-not-found");
    }
    assert_eq!(get(&mut world, "/jobs").await.status, 200);
    world.status = "listen = \"127.0.0.1:0\"".to_owned();
    world.reload();
    assert_eq!(page(&mut world, "/").await.status, 200);
}
