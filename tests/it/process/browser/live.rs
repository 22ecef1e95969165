//! Pages that move: what a restart does to them, and what their user has in hand meanwhile.

use super::page::{Page, STILL};
use super::scene::Scene;

/// Most that a page moves while rows are added to what it shows; "good", by the measure of browsers, is 0.1.
const CALM: f64 = 0.1;

#[tokio::test]
async fn a_page_says_that_the_daemon_is_gone_and_moves_again_after_its_restart() {
    let Some(page) = Page::open().await else {
        return;
    };
    let mut scene = Scene::empty().await;
    let address = scene.url.trim_start_matches("http://").to_owned();
    scene.house.set("status", "listen", &address);
    scene
        .house
        .follow("j", &[(0, &[("a", "in-progress")])])
        .await;
    page.go(&format!("{}/dashboard/jobs", scene.url)).await;
    page.is_live().await;
    page.shows("in-progress").await;
    scene.program.kill().await;
    page.shows("Connection lost, trying again").await;
    scene.program = scene.house.run();
    scene.program.ready().await;
    page.is_live().await;
    page.shows_no_more("Connection lost").await;
    scene.house.follow("k", &[(0, &[("a", "failed")])]).await;
    page.until(
        "the new job is there",
        "!!document.querySelector('tr[data-job=k] [data-state=failed]')",
    )
    .await;
}

#[tokio::test]
async fn focus_typed_text_open_details_selection_and_scroll_place_stay_while_a_list_moves() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    let rows: Vec<String> = (0..60)
        .map(|n| format!("('old-{n:02}', 4102444800000)"))
        .collect();
    scene
        .house
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) VALUES {}",
            rows.join(", ")
        ))
        .await;
    page.go(&format!("{}/dashboard/jobs", scene.url)).await;
    page.is_live().await;
    page.click("#enqueue summary").await;
    page.eval("document.getElementById('new-metadata').focus({preventScroll: true})")
        .await;
    page.types("{\"half\": ").await;
    let select = "(() => {
        const row = document.querySelector('tbody tr:nth-child(30)');
        window.row = row.dataset.job;
        row.scrollIntoView({block: 'center'});
        const range = document.createRange();
        range.selectNodeContents(row.querySelector('a'));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.getElementById('new-metadata').focus({preventScroll: true});
        return row.dataset.job;
    })()";
    let row = page.text_of(select).await;
    // Every part of the page is sent once more.
    page.eval("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        .await;
    let place =
        format!("document.querySelector('tr[data-job=\"{row}\"]').getBoundingClientRect().top");
    page.shifted().await;
    let before = page.eval(&place).await.as_f64().unwrap();
    scene
        .house
        .follow("new-1", &[(0, &[("a", "success")])])
        .await;
    page.until(
        "the new job has ended",
        "!!document.querySelector('tr[data-job=new-1] [data-state=success]')",
    )
    .await;
    page.shifted().await;
    let after = page.eval(&place).await.as_f64().unwrap();
    assert!(
        (before - after).abs() <= 1.0,
        "the row moved from {before} to {after}"
    );
    let kept = "[document.activeElement.id, document.activeElement.value, document.getElementById('enqueue').open,
                 getSelection().toString()].join('|')";
    let kept = page.text_of(kept).await;
    assert_eq!(kept, format!("new-metadata|{{\"half\": |true|{row}"));
    assert_eq!(page.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_job_goes_to_its_end_in_a_page_that_stays_calm() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    let house = &scene.house;
    let steps = |first, second| [("verify-credentials", first), ("retrieve-accounts", second)];
    house
        .follow(
            "j",
            &[
                (0, &steps("in-progress", "pending")),
                (2000, &steps("success", "in-progress")),
                (3000, &steps("success", "success")),
            ],
        )
        .await;
    house.until("SELECT state FROM jobs", "in-progress").await;
    page.go(&format!("{}/dashboard/jobs/j", scene.url)).await;
    page.is_live().await;
    page.until(
        "the job has ended",
        "!!document.querySelector('#state [data-state=success]')",
    )
    .await;
    page.until(
        "its events were delivered",
        "!document.querySelector('#deliveries [data-state=pending]')",
    )
    .await;
    let (moved, what) = page.shifted().await;
    assert!(moved <= CALM, "{moved}: {what}");
    assert_eq!(page.complaints(), [""; 0]);
}

#[tokio::test]
async fn nothing_moves_on_the_overview_while_its_figures_do() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    scene
        .house
        .follow("j", &[(0, &[("a", "in-progress")])])
        .await;
    page.go(&scene.url).await;
    page.is_live().await;
    let figure = "document.querySelector('#hour figure strong').textContent";
    for _ in 0..2 {
        let before = page.text_of(figure).await;
        page.until("there are more polls", &format!("{figure} !== '{before}'"))
            .await;
    }
    let (moved, what) = page.shifted().await;
    assert!(moved <= STILL, "{moved}: {what}");
}
