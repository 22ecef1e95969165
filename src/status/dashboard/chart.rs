//! Small charts of the last hour, drawn by the server: geometry stands in attributes, colours in the style.

use maud::{Markup, html};

/// Width of a minute, and height of the drawing, in its own units.
const STEP: u32 = 10;
const HEIGHT: u32 = 100;

/// One chart: a bar per minute, of two kinds of things on each other.
pub(super) struct Chart<'a> {
    pub(super) id: &'static str,
    pub(super) title: &'a str,
    /// The figure in words, which says what the drawing shows.
    pub(super) figure: Markup,
    /// What went well, and what did not, minute by minute.
    pub(super) bars: Vec<(u64, u64)>,
    /// What the highest bar means, in words.
    pub(super) highest: String,
}

impl Chart<'_> {
    pub(super) fn draw(&self) -> Markup {
        let top = self.bars.iter().map(|(good, bad)| good + bad).max();
        let top = top.unwrap_or(0).max(1);
        let width = STEP * u32::try_from(self.bars.len()).unwrap_or(0);
        let height = |value: u64| u32::try_from(value * u64::from(HEIGHT) / top).unwrap_or(HEIGHT);
        let height = |value: u64| if value == 0 { 0 } else { height(value).max(2) };
        html! {
            figure.chart id=(self.id) {
                figcaption { span.label { (self.title) } span.figure { (self.figure) } }
                svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                    aria-label={ (self.title) ", each of the last 60 minutes; highest: " (self.highest) } {
                    line.base x1="0" x2=(width) y1=(HEIGHT) y2=(HEIGHT) {}
                    @for (x, (good, bad)) in (0_u32..).map(|n| n * STEP).zip(&self.bars) {
                        @let (good, bad) = (height(*good), height(*bad));
                        @if good > 0 { rect.good x=(x + 1) y=(HEIGHT - good) width=(STEP - 2) height=(good) {} }
                        @if bad > 0 {
                            rect.bad x=(x + 1) y=(HEIGHT.saturating_sub(good + bad)) width=(STEP - 2) height=(bad) {}
                        }
                    }
                }
                p.range { span { "1 h ago" } span { "max " (self.highest) } span { "now" } }
            }
        }
    }
}
