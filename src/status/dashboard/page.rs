//! What all pages share: the frame around them, and their parts, which a live page replaces one by one.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::marks::View;

/// The pages of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Jobs,
    Webhooks,
    Events,
    Operators,
    /// A page outside of the navigation.
    None,
}

const NAVIGATION: [(Section, &str, &str); 5] = [
    (Section::Overview, "/", "Overview"),
    (Section::Jobs, "/dashboard/jobs", "Jobs"),
    (Section::Webhooks, "/dashboard/webhooks", "Webhooks"),
    (Section::Events, "/dashboard/events", "Events"),
    (Section::Operators, "/dashboard/operators", "Operators"),
];

/// A part of a page with an id of its own.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) html: String,
}

/// A page without its frame.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) section: Section,
    pub(super) title: String,
    /// The heading, with what stands beside it.
    pub(super) heading: Markup,
    pub(super) parts: Vec<Part>,
    /// Whether it changes while it is shown.
    pub(super) is_live: bool,
}

impl Page {
    pub(super) fn new(section: Section, title: impl Into<String>) -> Self {
        let title = title.into();
        Self {
            section,
            heading: html! { h1 { (title) } },
            title,
            parts: Vec::new(),
            is_live: true,
        }
    }

    /// Adds a part.
    pub(super) fn part(&mut self, id: &'static str, content: &Markup) {
        let html = html! { div id=(id) class="part" data-part { (content) } };
        self.parts.push(Part {
            id,
            html: html.into_string(),
        });
    }

    /// The whole document. `place` is the page's own address; `notice` stands above everything.
    pub(super) fn document(&self, place: &str, notice: Option<&Markup>, view: &View) -> String {
        let content = html! {
            @if let Some(notice) = notice { (notice) }
            @for part in &self.parts { (PreEscaped(&part.html)) }
        };
        let live = self.is_live.then_some(place);
        frame(
            &self.title,
            self.section,
            &self.heading,
            &content,
            live,
            Some(view),
        )
        .into_string()
    }
}

/// The frame of a page; without a viewer, that of the sign-in page.
pub(super) fn frame(
    title: &str,
    section: Section,
    heading: &Markup,
    content: &Markup,
    live: Option<&str>,
    viewer: Option<&View>,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · jobtrackd" }
                link rel="stylesheet" href=(assets::style_path());
                link rel="icon" type="image/svg+xml" href=(assets::icon_path());
                script src=(assets::script_path()) defer {}
            }
            body data-live=[live] {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { "jobtrackd" }
                    @if let Some(viewer) = viewer {
                        nav aria-label="Pages" { ul {
                            @for (each, path, name) in NAVIGATION {
                                li { a href=(path) aria-current=[(each == section).then_some("page")] { (name) } }
                            }
                        } }
                        div.who {
                            @if live.is_some() {
                                span #live .live role="status" aria-live="polite" data-state="still" {
                                    "As of " (viewer.clock(viewer.now))
                                }
                            }
                            @if viewer.operator.can_sign_out {
                                span.name { (viewer.operator.name) @if !viewer.may_act() { " (read)" } }
                                form method="post" action="/dashboard/sign-out" { button.quiet type="submit" { "Sign out" } }
                            }
                        }
                    }
                }
                main #main tabindex="-1" {
                    div.heading { (heading) }
                    (content)
                }
                footer { "jobtrackd " (env!("CARGO_PKG_VERSION")) " · times in UTC" }
            }
        }
    }
}

/// A notice above the content of a page. What is there at once is not read aloud, unless it takes the focus.
pub(super) fn notice(tone: &'static str, text: &str, takes_focus: bool) -> Markup {
    html! { div.notice data-tone=(tone) role="status" tabindex="-1" autofocus[takes_focus] id="notice" { p { (text) } } }
}

/// What stands in place of a list that is empty: what it would show, and what to do.
pub(super) fn empty(title: &str, advice: &Markup) -> Markup {
    html! { div.empty { p.strong { (title) } p { (advice) } } }
}

/// A command to type, with a button that copies it where there is a script.
pub(super) fn command(text: &str) -> Markup {
    html! { div.command { code { (text) } button.quiet type="button" data-copy=(text) hidden { "Copy" } } }
}
