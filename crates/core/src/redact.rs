//! Removes our secrets from what a receiver answers, in whatever form it repeats them.
//!
//! An answer may hold a secret, or the part after its scheme word, as it was sent, percent-encoded, escaped as in JSON or
//! HTML, several of these nested, or as base64 or hexadecimal digits. So the answer is searched as it is and decoded up to
//! three times; each decoded byte keeps its range in the answer.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Shortest secret that is searched for, in bytes; shorter ones occur in any text.
const SHORTEST: usize = 4;

/// Shortest secret whose base64 and hexadecimal digits are searched for, in bytes.
const SHORTEST_ENCODED: usize = 8;

/// How often an answer is decoded.
const LEVELS: usize = 3;

/// Longest `&…;` of HTML, in bytes.
const ENTITY: usize = 10;

/// Replaces a secret.
pub const HIDDEN: &str = "***";

/// Words before a secret, in lower case, that are not secret themselves.
const SCHEMES: [&str; 12] = [
    "api-key",
    "apikey",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "digest",
    "hmac",
    "jwt",
    "key",
    "oauth",
    "signature",
    "token",
];

/// Hides a set of secrets.
#[derive(Default)]
pub struct Redactor {
    /// The byte strings to hide, by their first four bytes.
    forms: HashMap<[u8; SHORTEST], Vec<Vec<u8>>>,
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(***)")
    }
}

/// An answer, decoded a number of times.
struct Level {
    bytes: Vec<u8>,
    /// The range of each byte in the answer.
    ranges: Vec<(usize, usize)>,
    /// The position of the last escape, if the answer was cut within it.
    open: Option<usize>,
}

/// The length of the escape at the start of a text, and the bytes it means.
type Escape = (usize, Vec<u8>);

/// Why there is no escape at the start of a text.
enum NoEscape {
    Plain,
    /// The text ends before it is complete.
    Open,
}

impl Redactor {
    /// Hides the values of these headers, the words in them, and these texts, all as they are sent.
    #[must_use]
    pub fn new<'a>(
        headers: impl IntoIterator<Item = &'a [u8]>,
        texts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut forms = BTreeSet::new();
        for value in headers {
            add_forms(value, parts, &mut forms);
        }
        for text in texts {
            add_forms(text, |text| vec![text.to_vec()], &mut forms);
        }
        let mut redactor = Self::default();
        for form in forms {
            if let Some(start) = form.first_chunk() {
                redactor.longest = redactor.longest.max(form.len());
                redactor.forms.entry(*start).or_default().push(form);
            }
        }
        redactor
    }

    /// The answer with [`HIDDEN`] in place of each secret. If it is not `whole`, a beginning of a secret at its end is cut
    /// off.
    #[must_use]
    pub fn hide(&self, answer: &[u8], whole: bool) -> Vec<u8> {
        if self.forms.is_empty() {
            return answer.to_vec();
        }
        let mut hidden = vec![false; answer.len()];
        let mut end = answer.len();
        let mut level = Level::of(answer);
        for left in (0..=LEVELS).rev() {
            self.mark(&level, &mut hidden);
            if !whole {
                let ends = [level.open, self.beginning(&level)];
                end = ends.into_iter().flatten().fold(end, usize::min);
            }
            match level.decoded(whole).filter(|_| left > 0) {
                Some(next) => level = next,
                None => break,
            }
        }
        let mut out = Vec::with_capacity(end);
        let mut before = false;
        for (byte, hidden) in answer.iter().zip(hidden).take(end) {
            if !hidden {
                out.push(*byte);
            } else if !before {
                out.extend_from_slice(HIDDEN.as_bytes());
            }
            before = hidden;
        }
        out
    }

    /// The same for a whole text.
    #[must_use]
    pub fn hide_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide(text.as_bytes(), true)).into_owned()
    }

    fn mark(&self, level: &Level, hidden: &mut [bool]) {
        let mut done = 0;
        for at in 0..level.bytes.len() {
            let rest = level.bytes.get(at..).unwrap_or_default();
            let forms = rest.first_chunk().and_then(|start| self.forms.get(start));
            let found = forms.into_iter().flatten();
            let found = found.filter(|form| rest.starts_with(form)).map(Vec::len);
            let Some(length) = found.max() else { continue };
            let from = at.max(done);
            done = at + length;
            for (start, end) in level.ranges.get(from..done).unwrap_or_default() {
                hidden.get_mut(*start..*end).unwrap_or_default().fill(true);
            }
        }
    }

    /// The position of a beginning of a secret at the end of a text that was cut.
    fn beginning(&self, level: &Level) -> Option<usize> {
        let first = level.bytes.len().saturating_sub(self.longest);
        let at = (first..level.bytes.len()).find(|at| {
            let rest = level.bytes.get(*at..).unwrap_or_default();
            let begins = |form: &Vec<u8>| form.len() > rest.len() && form.starts_with(rest);
            match rest.first_chunk() {
                Some(start) => self.forms.get(start).into_iter().flatten().any(begins),
                None => self.forms.values().flatten().any(begins),
            }
        })?;
        level.ranges.get(at).map(|(start, _)| *start)
    }
}

impl Level {
    fn of(answer: &[u8]) -> Self {
        Self {
            bytes: answer.to_vec(),
            ranges: (0..answer.len()).map(|at| (at, at + 1)).collect(),
            open: None,
        }
    }

    /// The text decoded once more, unless it has no escapes. If it is not `whole`, it ends before an incomplete escape.
    fn decoded(&self, whole: bool) -> Option<Self> {
        if !self.bytes.iter().any(|byte| b"\\%&".contains(byte)) {
            return None;
        }
        let mut next = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            ranges: Vec::with_capacity(self.bytes.len()),
            open: None,
        };
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let start = self.ranges.get(at).map_or(0, |(start, _)| *start);
            let (length, meant) = match escape(self.bytes.get(at..).unwrap_or_default()) {
                Ok(escape) => escape,
                Err(NoEscape::Open) if !whole => {
                    next.open = Some(start);
                    break;
                }
                Err(_) => (1, vec![*byte]),
            };
            let last = self.ranges.get(at + length - 1);
            let end = last.map_or(start, |(_, end)| *end);
            next.ranges.extend(meant.iter().map(|_| (start, end)));
            next.bytes.extend(meant);
            at += length;
        }
        (next.bytes != self.bytes).then_some(next)
    }
}

/// Adds every form of a value that decoding the answer does not find.
fn add_forms(value: &[u8], parts: impl Fn(&[u8]) -> Vec<Vec<u8>>, forms: &mut BTreeSet<Vec<u8>>) {
    let mut level = Some(Level::of(value));
    for _ in 0..=LEVELS {
        let Some(this) = level else { break };
        for part in parts(&this.bytes) {
            // HTML forms and queries write a blank as a plus sign.
            for (from, to) in [(b' ', b'+'), (b'+', b' ')] {
                let swap = |byte: &u8| if *byte == from { to } else { *byte };
                forms.insert(part.iter().map(swap).collect());
            }
            forms.extend(encoded(&part));
            forms.insert(part);
        }
        level = this.decoded(true);
    }
}

/// The value, its words without the scheme, and the values in them: `key="this"`.
fn parts(value: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![value.to_vec()];
    let mut scheme = None;
    let words = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        let lower = String::from_utf8_lossy(word).to_lowercase();
        if index == 0 && SCHEMES.contains(&lower.as_str()) {
            scheme = Some(lower);
            continue;
        }
        parts.push(word.to_vec());
        for item in word.split(|byte| b",;".contains(byte)) {
            let value = item.splitn(2, |byte| *byte == b'=').nth(1);
            for text in value.into_iter().chain([item]) {
                parts.push(trimmed(text, b"\"'"));
                parts.push(trimmed(text, b"\"'="));
            }
        }
        if scheme.as_deref() == Some("basic")
            && let Ok(pair) = STANDARD.decode(word)
        {
            let password = pair.splitn(2, |byte| *byte == b':').nth(1);
            parts.extend(password.map(<[u8]>::to_vec));
            parts.push(pair);
        }
    }
    parts
}

fn trimmed(text: &[u8], of: &[u8]) -> Vec<u8> {
    let kept = |byte: &u8| !of.contains(byte);
    let start = text.iter().position(kept).unwrap_or(0);
    let end = text.iter().rposition(kept).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default().to_vec()
}

/// Its hexadecimal digits, and its part of the base64 of a longer text at each of three offsets, in both alphabets.
fn encoded(part: &[u8]) -> Vec<Vec<u8>> {
    if part.len() < SHORTEST_ENCODED {
        return Vec::new();
    }
    let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![digits.to_uppercase().into_bytes(), digits.into_bytes()];
    for before in 0..3_usize {
        let shifted = [vec![0; before], part.to_vec()].concat();
        let text = STANDARD_NO_PAD.encode(&shifted);
        // The characters at the ends also depend on the neighbouring bytes.
        let inner = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
        let inner = text.get(inner).unwrap_or_default();
        forms.push(inner.replace('+', "-").replace('/', "_").into_bytes());
        forms.push(inner.as_bytes().to_vec());
    }
    forms
}

fn escape(text: &[u8]) -> Result<Escape, NoEscape> {
    match text {
        [b'\\', rest @ ..] => backslash(rest),
        [b'%', rest @ ..] => byte(rest, 1),
        [b'&', rest @ ..] => entity(rest),
        _ => Err(NoEscape::Plain),
    }
}

/// The rest of an escape after a backslash, as in JSON and similar languages.
fn backslash(rest: &[u8]) -> Result<Escape, NoEscape> {
    let meant = match rest {
        [] => return Err(NoEscape::Open),
        [c @ (b'"' | b'\\' | b'/' | b'\''), ..] => *c,
        [b'b', ..] => 8,
        [b'f', ..] => 12,
        [b'n', ..] => b'\n',
        [b'r', ..] => b'\r',
        [b't', ..] => b'\t',
        [b'x', rest @ ..] => return byte(rest, 2),
        [b'u', rest @ ..] => return unicode(rest),
        _ => return Err(NoEscape::Plain),
    };
    Ok((2, vec![meant]))
}

/// A byte written as two hexadecimal digits after this many other bytes.
fn byte(rest: &[u8], before: usize) -> Result<Escape, NoEscape> {
    let byte = u8::try_from(hex(rest, 2)?).unwrap_or_default();
    Ok((before + 2, vec![byte]))
}

/// A character written as `\uXXXX`, or as two of them for a surrogate pair.
fn unicode(rest: &[u8]) -> Result<Escape, NoEscape> {
    let first = hex(rest, 4)?;
    if let Some(c) = char::from_u32(first) {
        return Ok((6, c.to_string().into_bytes()));
    }
    let second = match rest.get(4..).unwrap_or_default() {
        [b'\\', b'u', rest @ ..] => hex(rest, 4)?,
        [] | [b'\\'] => return Err(NoEscape::Open),
        _ => return Err(NoEscape::Plain),
    };
    let halves = [first, second].map(|half| u16::try_from(half).unwrap_or_default());
    let pair = String::from_utf16(&halves).map_err(|_| NoEscape::Plain)?;
    Ok((12, pair.into_bytes()))
}

fn hex(rest: &[u8], digits: usize) -> Result<u32, NoEscape> {
    let written = rest.get(..digits.min(rest.len())).unwrap_or_default();
    if !written.iter().all(u8::is_ascii_hexdigit) {
        return Err(NoEscape::Plain);
    }
    if written.len() < digits {
        return Err(NoEscape::Open);
    }
    let digits = std::str::from_utf8(written).map_err(|_| NoEscape::Plain)?;
    u32::from_str_radix(digits, 16).map_err(|_| NoEscape::Plain)
}

/// The rest of an HTML entity after the ampersand.
fn entity(rest: &[u8]) -> Result<Escape, NoEscape> {
    let near = rest.get(..ENTITY.min(rest.len())).unwrap_or_default();
    let Some(length) = near.iter().position(|byte| *byte == b';') else {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
        let open = rest.len() < ENTITY && near.iter().all(plain);
        return Err(if open {
            NoEscape::Open
        } else {
            NoEscape::Plain
        });
    };
    let name = near.get(..length).unwrap_or_default();
    let name = String::from_utf8_lossy(name).to_lowercase();
    let meant = match name.as_str() {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        name => {
            let digits = name.strip_prefix('#').ok_or(NoEscape::Plain)?;
            let code = match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            let meant = code.ok().and_then(char::from_u32);
            meant.ok_or(NoEscape::Plain)?
        }
    };
    Ok((length + 2, meant.to_string().into_bytes()))
}

#[cfg(test)]
mod tests;
