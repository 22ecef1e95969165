//! Tables: which columns fit, how wide they are, and each row as one line.

use super::screen::{Tone, View};
use super::text;

/// Blanks between two columns.
const GAP: usize = 2;

/// The widest that a cell is made for.
const LARGEST_CELL: usize = 60;

/// Widest column of a plain table except the last, and narrowest last one.
const LARGEST_PLAIN: usize = 40;
const SMALLEST_LAST: usize = 20;

/// A text and its tone.
pub(super) type Cell = (String, Tone);

/// A cell with the plain tone.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Tone::Plain)
}

/// The columns of a table, and which of them are cut or left out where it is too wide.
pub(super) struct Columns<'a> {
    pub(super) headings: &'a [&'a str],
    pub(super) tone: Tone,
    /// A line is drawn below the headings.
    pub(super) ruled: bool,
    /// Aligned to the right.
    pub(super) numbers: &'static [usize],
    /// Bars of `━`, dim where they are not full (`─`).
    pub(super) bars: &'static [usize],
    /// What is cut in a narrow terminal, in this order, down to this many columns; 0: it is left out.
    pub(super) yields: &'a [(usize, usize)],
    /// What then gets the width that is left, in this order.
    pub(super) regains: &'static [usize],
}

impl Columns<'_> {
    /// The defaults.
    pub(super) const PLAIN: Columns<'static> = Columns {
        headings: &[],
        tone: Tone::Strong,
        ruled: false,
        numbers: &[],
        bars: &[],
        yields: &[],
        regains: &[],
    };

    /// The width of each column within `room`, from what its cells need; 0 for those that are left out.
    fn fit(&self, natural: &[usize], room: usize) -> Vec<usize> {
        let mut widths = natural.to_vec();
        for (column, floor) in self.yields {
            let excess = total(&widths).saturating_sub(room);
            let width = &mut widths[*column];
            *width = match (excess, *floor) {
                (0, _) => break,
                (_, 0) => 0,
                (_, floor) => width.saturating_sub(excess).max(floor.min(*width)),
            };
        }
        for column in self.regains {
            let spare = room.saturating_sub(total(&widths));
            if widths[*column] > 0 {
                widths[*column] = natural[*column].min(widths[*column] + spare);
            }
        }
        widths
    }

    /// A cell, cut or filled up to its width.
    fn paint(&self, column: usize, width: usize, (text, tone): &Cell, view: &View) -> String {
        let text = text::fit(text, width);
        let blanks = " ".repeat(width.saturating_sub(text::columns(&text)));
        let is_bar = self.bars.contains(&column);
        let full = text.find('─').filter(|_| is_bar).unwrap_or(text.len());
        let (full, rest) = text.split_at(full);
        let painted = view.paint(*tone, full) + &view.dim(rest);
        match self.numbers.contains(&column) {
            true => blanks + &painted,
            false => painted + &blanks,
        }
    }
}

/// How wide columns are together; those of no width are left out.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    let widths = shown.map(|width| width + GAP);
    widths.sum::<usize>().saturating_sub(GAP)
}

/// A plain table of these rows, each with a cell per heading: the last column is cut to the width that is left.
pub(super) fn rows(
    headings: &[&str],
    rows: impl IntoIterator<Item = Vec<Cell>>,
    view: &View,
) -> String {
    let rows = Vec::from_iter(rows);
    let is_used = |column: &usize| rows.iter().any(|row| !row[*column].0.is_empty());
    let last = (0..headings.len()).rfind(is_used).unwrap_or(0);
    let columns = Columns {
        headings,
        yields: &[(last, SMALLEST_LAST)],
        ..Columns::PLAIN
    };
    let cell = |row: &Vec<Cell>, column: usize, _| match &row[column] {
        cell if column == last => cell.clone(),
        (text, tone) => (text::fit(text, LARGEST_PLAIN), *tone),
    };
    draw(&columns, &rows, cell, view)
}

/// A table of these rows, one line each, that fits the view. A cell is made for a column and the width it may have; a
/// column that is empty in every row is left out.
pub(super) fn draw<R>(
    columns: &Columns<'_>,
    rows: &[R],
    cell: impl Fn(&R, usize, usize) -> Cell,
    view: &View,
) -> String {
    let widest = |column: usize, limit: usize| {
        let cells = rows.iter().map(|row| cell(row, column, limit).0);
        match cells.map(|text| text::columns(&text)).max() {
            None | Some(0) => 0,
            Some(widest) => widest.max(columns.headings[column].len()),
        }
    };
    let all = 0..columns.headings.len();
    let natural: Vec<usize> = all.map(|column| widest(column, LARGEST_CELL)).collect();
    let mut widths = columns.fit(&natural, view.width);
    for (column, width) in widths.iter_mut().enumerate() {
        *width = widest(column, *width).min(*width);
    }
    let line = |cell: &dyn Fn(usize, usize) -> Cell| {
        let shown = widths.iter().enumerate().filter(|(_, width)| **width > 0);
        let cells =
            shown.map(|(column, width)| columns.paint(column, *width, &cell(column, *width), view));
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        line.trim_end().to_owned() + "\n"
    };
    let mut out = line(&|column, _| (columns.headings[column].to_owned(), columns.tone));
    if columns.ruled {
        out += &format!("{}\n", "─".repeat(total(&widths)));
    }
    for row in rows {
        out += &line(&|column, width| cell(row, column, width));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::Style;
    use crate::core::time::UnixMillis;

    #[test]
    fn columns_are_as_wide_as_needed_and_the_last_one_is_cut() {
        let view = View {
            style: Style { colour: false },
            width: 40,
            now: UnixMillis(0),
        };
        let lines = [
            vec![plain("a"), plain(""), plain("12"), plain("short")],
            vec![
                plain("longer"),
                plain(""),
                plain("3"),
                plain("x".repeat(60)),
            ],
        ];
        let table = rows(&["NAME", "NONE", "N", "LAST"], lines, &view);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "NAME    N   LAST");
        assert_eq!(lines[1], "a       12  short");
        assert!(lines[2].starts_with("longer  3   xxx") && lines[2].ends_with('…'));
        assert_eq!(text::columns(lines[2]), 40);
    }
}
