//! What operators have done here.

use maud::html;

use super::marks::{View, at};
use super::page::{Page, Section, empty};
use crate::status::Parts;

/// Operations that are shown.
const SHOWN: usize = 200;

pub(super) fn page(parts: &Parts, _view: &View) -> Page {
    let latest = parts.dashboard.0.operations.latest(SHOWN);
    let mut page = Page::new(Section::Operators, "Operators");
    page.part("operations", &html! {
        @if latest.is_empty() {
            (empty("Nothing was done here since the daemon started.", &html! { "What operators do on these pages is listed here and logged. The log also has what was done before." }))
        } @else { div.scroll { table.cards {
            thead { tr { @for name in ["When", "Who", "Action", "Target", "Outcome"] { th scope="col" { (name) } } } }
            tbody { @for each in &latest { tr data-operation=(each.number) {
                td data-label="When" { (at(each.at)) } td data-label="Who" { (each.operator) } td data-label="Action" { (each.action) }
                td data-label="Target" { (each.target) }
                td data-label="Outcome" data-tone=(if each.is_done { "plain" } else { "bad" }) { @if !each.is_done { "refused: " } (each.outcome) }
            } } }
        } } p.dim { "The latest since the daemon started; the log has all of them." } }
    });
    page
}
