//! Text cut, padded and wrapped to the columns of a terminal, beside the words that commands share with other surfaces.

use std::borrow::Cow;

use textwrap::{Options, WordSplitter};
use unicode_width::UnicodeWidthChar as _;

pub(super) use crate::words::{TEXT_LIMIT, ago, brief, count, error, moment, outside, raw, size};

/// How many columns of a terminal a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// The text, cut to `width` columns with an ellipsis at the cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns_of(c);
        if used >= width.max(1) {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// The text, cut or filled with blanks to exactly `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let blanks = width.saturating_sub(columns(&text));
    text + &" ".repeat(blanks)
}

/// The text in lines of at most `width` columns, broken at blanks where there are any.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let options = Options::new(width.max(10)).word_splitter(WordSplitter::NoHyphenation);
    let text = words.join(" ");
    let lines = textwrap::wrap(&text, options);
    lines.into_iter().map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_padded_and_wrapped_by_columns() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(columns(&pad("日本語", 5)), 5);
        assert_eq!(pad("ab", 4), "ab  ");
        assert_eq!(
            wrap("an answer is needed by the bank", 12),
            ["an answer is", "needed by", "the bank"]
        );
        assert_eq!(
            wrap(&"x".repeat(25), 10),
            ["x".repeat(10), "x".repeat(10), "x".repeat(5)]
        );
        assert_eq!(wrap("", 10), [""]);
    }
}
