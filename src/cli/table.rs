//! Tables, drawn and cut by `comfy_table`; this module decides which columns fit, and how wide they are.

use comfy_table::{
    Attribute, CellAlignment, ColumnConstraint, LineStyle, Row, Table, TableStyle, Width,
};

use super::screen::View;
use super::style::Tone;
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
    /// Aligned to the right.
    pub(super) numbers: &'static [usize],
    /// Left out in a narrow terminal, in this order.
    pub(super) dispensable: &'static [usize],
    /// Cut first, each down to this many columns.
    pub(super) flexible: &'static [(usize, usize)],
    /// Cut where that is not enough.
    pub(super) rigid: &'static [(usize, usize)],
    /// A line is drawn below the headings.
    pub(super) ruled: bool,
}

impl<'a> Columns<'a> {
    /// A plain table: the last column is cut to the width that is left.
    pub(super) fn plain(headings: &'a [&'a str]) -> Self {
        Self {
            headings,
            numbers: &[],
            dispensable: &[],
            flexible: &[],
            rigid: &[],
            ruled: false,
        }
    }

    /// The width of each column within `room`, from what its cells need; 0 for those that are left out.
    fn fit(&self, mut widths: Vec<usize>, room: usize) -> Vec<usize> {
        let needed = |widths: &[usize]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown
                .map(|width| width + GAP)
                .sum::<usize>()
                .saturating_sub(GAP)
        };
        for column in self.dispensable {
            let mut least = widths.clone();
            for (column, floor) in self.flexible {
                least[*column] = least[*column].min(*floor);
            }
            if needed(&least) > room {
                widths[*column] = 0;
            }
        }
        let mut cuts = [self.flexible, self.rigid].concat();
        if cuts.is_empty() {
            let last = widths.iter().rposition(|width| *width > 0).unwrap_or(0);
            for width in &mut widths[..last] {
                *width = LARGEST_PLAIN.min(*width);
            }
            cuts.push((last, SMALLEST_LAST));
        }
        for (column, floor) in cuts {
            let excess = needed(&widths).saturating_sub(room);
            widths[column] -= widths[column].saturating_sub(floor).min(excess);
        }
        widths
    }
}

/// A plain table of these rows, each with a cell per heading.
pub(super) fn rows(headings: &[&str], rows: &[Vec<Cell>], view: &View) -> String {
    let cell = |row: &Vec<Cell>, column: usize, _| row[column].clone();
    draw(&Columns::plain(headings), rows, cell, view)
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
    let natural = all.map(|column| widest(column, LARGEST_CELL));
    let mut widths = columns.fit(natural.collect(), view.width);
    for (column, width) in widths.iter_mut().enumerate() {
        *width = widest(column, *width).min(*width);
    }
    let mut table = Table::new();
    let style = TableStyle::new();
    table.load_style(match columns.ruled {
        true => style.header_separator(LineStyle::none().fill('─').junction('─')),
        false => style,
    });
    // A character that no text holds, so that text is cut at its column and not at a blank before it.
    table.set_delimiter('\0').set_truncation_indicator("…");
    if view.style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let headings = columns.headings.iter();
    table.set_header(row(
        headings.map(|heading| ((*heading).to_owned(), Tone::Strong))
    ));
    for each in rows {
        let cells = widths.iter().enumerate();
        table.add_row(row(cells.map(|(column, width)| cell(each, column, *width))));
    }
    let last = widths.iter().rposition(|width| *width > 0).unwrap_or(0);
    for (index, column) in table.column_iter_mut().enumerate() {
        // A ruled table draws one of the two blanks itself.
        let gap = if columns.ruled { 1 } else { 2 };
        let padding = if index == last { 0 } else { gap };
        let width = u16::try_from(widths[index]).unwrap_or(u16::MAX);
        column.set_padding((0, padding));
        column.set_constraint(match width {
            0 => ColumnConstraint::Hidden,
            _ => ColumnConstraint::Absolute(Width::Fixed(width.saturating_add(padding))),
        });
        if columns.numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

fn row(cells: impl Iterator<Item = Cell>) -> Row {
    let cells = cells.map(|(text, tone)| {
        let cell = comfy_table::Cell::new(text);
        match tone {
            Tone::Plain => cell,
            Tone::Strong => cell.add_attribute(Attribute::Bold),
            tone => cell.fg(tone.color()),
        }
    });
    let mut row = Row::from(cells.collect::<Vec<_>>());
    row.max_height(1);
    row
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
        let lines = [
            vec![plain("a"), plain(""), plain("12"), plain("short")],
            vec![
                plain("longer"),
                plain(""),
                plain("3"),
                plain("x".repeat(60)),
            ],
        ];
        let table = rows(&["NAME", "NONE", "N", "LAST"], &lines, &view);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "NAME    N   LAST");
        assert_eq!(lines[1], "a       12  short");
        assert!(lines[2].starts_with("longer  3   xxx") && lines[2].ends_with('…'));
        assert_eq!(text::columns(lines[2]), 40);
    }
}
