//! Text from outside. The bytes of an answer become text, tolerant of compression and of broken Unicode, without any other
//! change; and any text becomes one that is safe in a log line, a table or a terminal.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::GzDecoder;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of a gzip body.
pub const GZIP: &[u8] = b"\x1f\x8b\x08";

/// Replaces a lone surrogate escape: U+FFFD as an escape of the same length.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// Longest text that [`one_line`] returns, in characters.
pub const MAX_DETAIL: usize = 200;

/// Characters of a word that are compared in [`nearest`].
const COMPARED: usize = 64;

/// Why a compressed body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The decompressed body is above the limit.
    #[error("a body above the limit once decompressed")]
    TooLarge,
    /// Not valid gzip, or cut short.
    #[error("a body that begins like gzip and cannot be decompressed")]
    Broken,
}

/// Decompresses a gzip body (some servers send one without being asked to); any other body stays as it is. Bytes after the
/// compressed part are ignored. At most `limit` bytes are decompressed.
///
/// # Errors
/// [`DecompressError`].
pub fn decompressed(body: Vec<u8>, limit: usize) -> Result<Vec<u8>, DecompressError> {
    if !body.starts_with(GZIP) {
        return Ok(body);
    }
    let (mut plain, mut rest) = (Vec::new(), body.as_slice());
    // A gzip body may have several members.
    while rest.starts_with(GZIP) {
        let mut member = GzDecoder::new(rest);
        let beyond = u64::try_from(limit + 1 - plain.len()).unwrap_or(u64::MAX);
        let read = member.by_ref().take(beyond).read_to_end(&mut plain);
        read.map_err(|_| DecompressError::Broken)?;
        if plain.len() > limit {
            return Err(DecompressError::TooLarge);
        }
        rest = member.into_inner();
    }
    Ok(plain)
}

/// The text of a JSON body (docs/jobs.md, "How answers are read"): without a byte order mark, and with U+FFFD in place of
/// bytes that are not UTF-8 and of surrogate escapes that lack their other half. The text is at most three times as long as
/// the bytes.
#[must_use]
pub fn text_of(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let lone = lone_surrogates(body);
    if lone.is_empty() {
        return String::from_utf8_lossy(body);
    }
    let mut mended = body.to_vec();
    for at in lone {
        if let Some(escape) = mended.get_mut(at..at + REPLACEMENT.len()) {
            escape.copy_from_slice(REPLACEMENT);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&mended).into_owned())
}

/// A text from outside, safe for a log line, a table or a terminal: cut to `limit` characters, then escaped by
/// [`push_printable`].
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    chars
        .by_ref()
        .take(limit)
        .for_each(|c| push_printable(&mut out, c));
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// One line for people, of at most [`MAX_DETAIL`] characters; control characters are escaped.
#[must_use]
pub fn one_line(text: &str) -> String {
    cut(printable(text, MAX_DETAIL), MAX_DETAIL)
}

/// Appends the bytes as lowercase hexadecimal digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let digits = [byte >> 4, byte & 0xf].map(u32::from);
        out.extend(
            digits
                .into_iter()
                .filter_map(|digit| char::from_digit(digit, 16)),
        );
    }
}

/// Appends a character; one that is a control character, invisible, or turns the direction of writing is escaped, since
/// it can disguise a text.
pub fn push_printable(out: &mut String, c: char) {
    if c.is_control() || is_deceptive(c) {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

/// The text, of at most `limit` characters; the last one of a text that was longer is an ellipsis.
#[must_use]
pub fn cut(text: String, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text,
        Some(_) => text
            .chars()
            .take(limit.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// Whether a character is invisible or turns the direction of writing.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The positions of escapes that are one half of a surrogate pair without the other.
fn lone_surrogates(body: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(next) = body.get(at..).and_then(backslash) {
        at += next;
        match escaped_unit(body, at) {
            None => at += 2,
            Some(0xd800..=0xdbff)
                if matches!(escaped_unit(body, at + 6), Some(0xdc00..=0xdfff)) =>
            {
                at += 12;
            }
            Some(unit) => {
                if (0xd800..=0xdfff).contains(&unit) {
                    lone.push(at);
                }
                at += 6;
            }
        }
    }
    lone
}

fn backslash(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\\')
}

/// The UTF-16 code unit of the escape `\uXXXX` at `at`, if one is there.
fn escaped_unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The candidate most similar to `word`, if it is similar enough; case is ignored.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word
        .chars()
        .take(COMPARED)
        .collect::<String>()
        .to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn text_from_outside_is_escaped_and_cut() {
        assert_eq!(printable("a\n<0>b\u{1b}[31m", 100), "a\\n<0>b\\u{1b}[31m");
        assert_eq!(printable("a\u{202e}\u{ad}é", 100), "a\\u{202e}\\u{ad}é");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
        assert_eq!(cut("abcdef".to_owned(), 3), "ab…");
        assert_eq!(cut("abc".to_owned(), 3), "abc");
    }

    #[test]
    fn lone_surrogates_are_replaced_anywhere_and_nothing_else_is() {
        for (body, text) in [
            (r#"{"a":"cut \ud83d"}"#, r#"{"a":"cut \ufffd"}"#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00 ü \u00fc""#, r#""\uD83D\uDE00 ü \u00fc""#),
            (r#""\ude00""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#),
            (r#""\ud83d" "\ude00""#, r#""\ufffd" "\ufffd""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\\\\ud83d\"\ud83d""#, r#""\\\\ud83d\"\ufffd""#),
            (r#""\ud83""#, r#""\ud83""#),
            (r#""\u+83d\ud8"#, r#""\u+83d\ud8"#),
            ("\\", "\\"),
            ("", ""),
        ] {
            assert_eq!(text_of(body.as_bytes()), text);
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_what_is_not_utf_8_is_replaced() {
        assert_eq!(text_of(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(text_of(b"\xef\xbb\xbf"), "");
        assert_eq!(
            text_of("{\"a\":\"\u{feff}\"}".as_bytes()),
            "{\"a\":\"\u{feff}\"}"
        );
        assert_eq!(text_of(b"\"M\xfcller\""), "\"M\u{fffd}ller\"");
        assert_eq!(
            text_of(b"\"\xff\\ud83d\xff\""),
            "\"\u{fffd}\\ufffd\u{fffd}\""
        );
    }

    #[test]
    fn gzip_is_undone_up_to_the_limit_and_a_bomb_stops_there() {
        let plain = br#"{"type":"job"}"#;
        assert_eq!(
            decompressed(plain.to_vec(), 1),
            Ok(plain.to_vec()),
            "not compressed, not counted"
        );
        assert_eq!(decompressed(packed(plain), plain.len()), Ok(plain.to_vec()));
        let too_large = Err(DecompressError::TooLarge);
        assert_eq!(decompressed(packed(plain), plain.len() - 1), too_large);
        let two = [packed(plain), packed(plain)].concat();
        assert_eq!(decompressed(two.clone(), 99), Ok(plain.repeat(2)));
        assert_eq!(decompressed(two, 2 * plain.len() - 1), too_large);
        for behind in [&b"\0\0\0"[..], b"\r\n", b"junk"] {
            let padded = [&packed(plain), behind].concat();
            assert_eq!(decompressed(padded, plain.len()), Ok(plain.to_vec()));
        }
        let bomb = packed(&vec![b' '; 300 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(decompressed(bomb, 1 << 20), too_large);
        let mut cut = packed(plain);
        cut.truncate(cut.len() - 9);
        for broken in [cut, GZIP.to_vec(), b"\x1f\x8b\x08 not gzip at all".to_vec()] {
            assert_eq!(decompressed(broken, 99), Err(DecompressError::Broken));
        }
    }

    proptest! {
        #[test]
        fn a_sound_text_stays_as_it_is_and_every_result_is_read_by_every_parser(
            text in "(\\\\u[dD][89ab][0-9a-f]{2}|\\\\u[dD][c-f][0-9a-f]{2}|\\\\u00e9|\\\\\\\\|\\\\n|u|d8|é|😀){0,9}",
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(text_of(quoted.as_bytes()), quoted.as_str());
            prop_assert!(text_of(&bytes).len() <= 3 * bytes.len());
            let raw = format!("\"{}\"", text.replace('"', ""));
            let mended = text_of(raw.as_bytes()).into_owned();
            let accepted = serde_json::from_str::<&serde_json::value::RawValue>(&mended).is_ok();
            prop_assert_eq!(accepted, serde_json::from_str::<String>(&mended).is_ok());
        }
    }

    #[test]
    fn the_nearest_word_is_named_only_when_it_is_near_enough() {
        let words = ["initial_delay", "max_delay", "jitter", "url"];
        for (written, expected) in [
            ("intial_delay", Some("initial_delay")),
            ("max-delay", Some("max_delay")),
            ("Jitter", Some("jitter")),
            ("ulr", Some("url")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, words), expected, "{written}");
        }
    }
}
