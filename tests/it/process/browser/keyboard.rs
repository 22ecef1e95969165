//! The keyboard alone.

use super::page::Page;
use super::scene::Scene;

/// What can be reached with the keyboard, in the order of the page, named so that a failure says what is missing.
const REACHABLE: &str = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary, pre[tabindex=\"0\"]')]
    .filter((each) => !each.disabled && each.type !== 'hidden' && each.checkVisibility({visibilityProperty: true}))
    .map(window.named)";

const NAMED: &str = "window.named = (each) => each.localName + ' ' + (each.id || each.name || each.getAttribute('href') || '')
    + ' ' + (each.textContent || '').trim().slice(0, 40); 0";

#[tokio::test]
async fn tab_reaches_everything_in_the_order_of_the_page_and_the_focus_is_seen() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::full().await;
    for url in scene.pages() {
        page.go(&url).await;
        page.stands_still().await;
        page.eval(NAMED).await;
        let reachable = page.eval(REACHABLE).await;
        let mut reachable = reachable.as_array().unwrap().clone();
        // A page may begin at its only field.
        let first = page.eval("named(document.activeElement)").await;
        let first = reachable.iter().position(|each| *each == first);
        reachable.rotate_left(first.map_or(0, |at| at + 1));
        // The last one would leave the page.
        reachable.truncate(reachable.len() - first.map_or(0, |at| at + 1));
        for (number, wanted) in reachable.iter().enumerate() {
            page.press("Tab").await;
            let focus = "(() => {
                const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
                const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
                    && box.width > 0 && box.right > 0 && box.bottom > 0 && box.top < innerHeight;
                return [named(it), seen];
            })()";
            let focus = page.eval(focus).await;
            assert_eq!(
                (&focus[0], &focus[1]),
                (wanted, &true.into()),
                "{url}: number {number} of {reachable:#?}"
            );
        }
    }
}

#[tokio::test]
async fn the_skip_link_leads_to_the_content_and_an_action_needs_no_mouse() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::empty().await;
    scene
        .house
        .follow("j", &[(0, &[("a", "in-progress")])])
        .await;
    page.go(&format!("{}/dashboard/jobs/j", scene.url)).await;
    page.is_live().await;
    page.press("Tab").await;
    assert_eq!(
        page.text_of("document.activeElement.textContent").await,
        "Skip to content"
    );
    page.press("Enter").await;
    page.until(
        "the content has the focus",
        "document.activeElement.id === 'main'",
    )
    .await;
    let to = async |selector: &str| {
        for _ in 0..40 {
            page.press("Tab").await;
            let is_there = format!("document.activeElement.matches('{selector}')");
            if page.eval(&is_there).await == true {
                return;
            }
        }
        panic!("{selector} was not reached");
    };
    to("#cancel summary").await;
    page.press("Space").await;
    page.until("it is open", "document.getElementById('cancel').open")
        .await;
    to("#cancel button").await;
    page.press("Enter").await;
    page.shows("Job j will be cancelled.").await;
    page.until(
        "the job has ended",
        "!!document.querySelector('#state [data-state=failed]')",
    )
    .await;
}
