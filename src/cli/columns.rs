//! A plain table: columns as wide as their widest cell, the last one cut to what is left.

use super::screen::View;
use super::style::Tone;
use super::text;

/// Blanks between two columns.
const GAP: usize = 2;

/// Widest cell of any column but the last.
const WIDEST: usize = 40;

/// A cell and its tone.
pub(super) type Cell = (String, Tone);

/// The rows below their headings, each with a cell per heading. Columns that say nothing are left out.
pub(super) fn table(headings: &[&str], rows: &[Vec<Cell>], view: &View) -> String {
    let width_of = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column));
        let widest = widest.map(|(text, _)| text::columns(text)).max();
        widest.filter(|wide| *wide > 0)
    };
    let shown: Vec<(usize, usize)> = headings
        .iter()
        .enumerate()
        .filter_map(|(column, heading)| {
            let wide = width_of(column)?.max(heading.len());
            Some((column, wide.min(WIDEST)))
        })
        .collect();
    let mut out = String::new();
    let heads: Vec<Cell> = headings
        .iter()
        .map(|heading| ((*heading).to_owned(), Tone::Strong))
        .collect();
    for row in std::iter::once(&heads).chain(rows) {
        push_row(&mut out, row, &shown, view);
    }
    out
}

fn push_row(out: &mut String, row: &[Cell], shown: &[(usize, usize)], view: &View) {
    let mut used = 0;
    for (index, (column, wide)) in shown.iter().enumerate() {
        let Some((text, tone)) = row.get(*column) else {
            continue;
        };
        let cell = if index + 1 == shown.len() {
            text::fit(text, view.width.saturating_sub(used).max(WIDEST / 2))
        } else {
            text::pad(text, *wide)
        };
        out.push_str(&view.paint(*tone, &cell));
        if index + 1 < shown.len() {
            out.push_str(&" ".repeat(GAP));
        }
        used += wide + GAP;
    }
    let end = out.trim_end_matches(' ').len();
    out.truncate(end);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::style::Style;
    use crate::core::time::UnixMillis;

    #[test]
    fn columns_are_as_wide_as_needed_and_the_last_one_is_cut() {
        let view = View {
            style: Style { colour: false },
            width: 40,
            now: UnixMillis(0),
        };
        let cell = |text: &str| (text.to_owned(), Tone::Plain);
        let rows = [
            vec![cell("a"), cell(""), cell("12"), cell("short")],
            vec![cell("longer"), cell(""), cell("3"), cell(&"x".repeat(60))],
        ];
        let table = table(&["NAME", "NONE", "N", "LAST"], &rows, &view);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "NAME    N   LAST");
        assert_eq!(lines[1], "a       12  short");
        assert!(lines[2].starts_with("longer  3   xxx") && lines[2].ends_with('…'));
        assert_eq!(text::columns(lines[2]), 40);
    }
}
