//! What holds for each page: nothing moves, nothing is too wide, and browsers, axe and html-validate have no complaint.

use std::process::Command;

use serde_json::Value;

use super::chromium::tools;
use super::page::{Page, STILL};
use super::scene::Scene;

const WIDTHS: [u32; 2] = [390, 1280];

/// Rules of html-validate that are left out, each with its reason:
/// the doctype is as the library for templates writes it, and long titles are ids of jobs.
const RULES: &str = r#"{"root": true, "extends": ["html-validate:recommended"],
    "rules": {"doctype-style": "off", "long-title": "off"}}"#;

#[tokio::test]
async fn no_page_moves_is_too_wide_or_breaks_a_rule_of_the_browser() {
    let Some(page) = Page::open().await else {
        return;
    };
    let scene = Scene::full().await;
    let mut wrong = Vec::new();
    for (width, is_dark) in WIDTHS
        .into_iter()
        .flat_map(|width| [(width, false), (width, true)])
    {
        page.looks(width, is_dark).await;
        for url in scene.pages() {
            page.go(&url).await;
            if page.eval("'live' in document.body.dataset").await == true {
                page.is_live().await;
            }
            let here = format!("{url} at {width}, dark: {is_dark}");
            let over = "Math.max(0, document.documentElement.scrollWidth - innerWidth)";
            let over = page.eval(over).await;
            if over != 0 {
                wrong.push(format!("{here}: {over} too wide"));
            }
            let (moved, what) = page.shifted().await;
            if moved > STILL {
                wrong.push(format!("{here}: moved {moved}: {what}"));
            }
            let ground = page
                .text_of("getComputedStyle(document.body).backgroundColor")
                .await;
            let is_light = ground == "rgb(255, 255, 255)";
            assert_eq!(is_light, !is_dark, "{here}: {ground}");
            wrong.extend(
                page.complaints()
                    .into_iter()
                    .map(|each| format!("{here}: {each}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page_in_either_theme() {
    let Some(tools) = tools() else {
        return;
    };
    let Some(page) = Page::open().await else {
        return;
    };
    let axe = std::fs::read_to_string(tools.join("node_modules/axe-core/axe.min.js")).unwrap();
    let scene = Scene::full().await;
    let mut wrong = Vec::new();
    for (width, is_dark) in [(390, true), (1280, false), (1280, true)] {
        page.looks(width, is_dark).await;
        for url in scene.pages() {
            page.go(&url).await;
            page.eval("for (const each of document.querySelectorAll('details')) each.open = true")
                .await;
            page.eval(&format!("{axe}; 0")).await;
            let found = "axe.run().then((found) => found.violations.map((each) => each.id + ': ' + each.help + ' '
                + each.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')))";
            let found = page.eval(found).await;
            let found = found.as_array().unwrap().iter();
            wrong.extend(found.map(|each| format!("{url} at {width}, dark: {is_dark}: {each}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_html_of_every_page_is_valid() {
    let Some(tools) = tools() else {
        return;
    };
    let scene = Scene::full().await;
    let folder = tempfile::TempDir::new().unwrap();
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (number, url) in scene.pages().into_iter().enumerate() {
        let request = client.get(&url).header("accept", "text/html");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let file = folder.path().join(format!("{number}.html"));
        std::fs::write(file, answer.text().await.unwrap()).unwrap();
    }
    std::fs::write(folder.path().join(".htmlvalidate.json"), RULES).unwrap();
    let mut validate = Command::new(tools.join("node_modules/.bin/html-validate"));
    validate
        .args(["--formatter", "json", "."])
        .current_dir(folder.path());
    let validated = tokio::task::spawn_blocking(move || validate.output().unwrap());
    let validated = validated.await.unwrap();
    let found: Value = serde_json::from_slice(&validated.stdout)
        .unwrap_or_else(|error| panic!("{error}: {validated:?}"));
    let messages = found.as_array().unwrap().iter().flat_map(|file| {
        let messages = file["messages"].as_array().unwrap().iter();
        messages.map(|each| {
            format!(
                "{}: {}: {} {}",
                file["filePath"], each["ruleId"], each["message"], each["selector"]
            )
        })
    });
    let messages: Vec<String> = messages.collect();
    assert!(
        messages.is_empty() && validated.status.success(),
        "{messages:#?}"
    );
}
