//! Reads the JSON of APIs key by key as raw text. So unknown fields, duplicate keys, huge numbers and odd types cause no
//! error (docs/api.md, facts 1 to 12), and what is stored and sent on is the API's own text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::UnusableAnswer;

/// Deepest nesting of lists and objects in an answer; a deeper one is refused as unusable.
///
/// Common JSON libraries read at most a hundred levels, and an event adds some levels.
pub const MAX_DEPTH: usize = 96;

/// An object, its values unread. Few of them are looked up, so their keys are not hashed.
#[derive(Debug, Default)]
pub(super) struct RawObject<'a>(Vec<(Key<'a>, &'a RawValue)>);

/// A key; what has no escapes is not copied.
#[derive(Debug, Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> RawObject<'a> {
    /// The value of a key, the last one if it is there more than once.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        let mut fields = self.0.iter().rev();
        let found = fields.find(|(known, _)| known.0 == key);
        found.map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawObject<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawObject(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Checks that a body is JSON, and not nested too deeply.
pub(super) fn checked(body: &str) -> Result<&RawValue, UnusableAnswer> {
    parsed(body)
}

/// A body that must be an object.
pub(super) fn object(body: &str) -> Result<RawObject<'_>, UnusableAnswer> {
    match body.trim_start().starts_with('{') {
        true => parsed(body),
        false => {
            checked(body)?;
            Err(UnusableAnswer::NotAJob("it is not an object"))
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, UnusableAnswer> {
    if depth_of(body) > MAX_DEPTH {
        let deep = "it is nested too deeply".to_owned();
        return Err(UnusableAnswer::NotJson(deep));
    }
    serde_json::from_str(body.trim()).map_err(|error| UnusableAnswer::NotJson(error.to_string()))
}

/// The fields of an object; `None` for any other value.
pub(super) fn fields(json: &str) -> Option<RawObject<'_>> {
    let object = json
        .trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(json));
    object?.ok()
}

/// A value as text: a string's content, any other value's JSON, `None` for null.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    match raw.get() {
        "null" => None,
        raw if raw.starts_with('"') => {
            let text: String = serde_json::from_str(raw).ok()?;
            // SQLite cuts a text at a NUL, and a step with a cut title would not be found again.
            Some(text.replace('\0', "\\u0000"))
        }
        raw => Some(raw.to_owned()),
    }
}

/// A field as text.
pub(super) fn text_of(object: &RawObject<'_>, key: &str) -> Option<String> {
    text(object.get(key)?)
}

/// A field that is a JSON string.
pub(super) fn string_of(object: &RawObject<'_>, key: &str) -> Option<String> {
    serde_json::from_str(object.get(key)?.get()).ok()
}

/// A field's JSON; null if it is absent.
pub(super) fn field<'a>(object: &RawObject<'a>, key: &str) -> &'a RawValue {
    object.get(key).unwrap_or(RawValue::NULL)
}

/// A field's JSON; `None` for null and for an absent one.
pub(super) fn present<'a>(object: &RawObject<'a>, key: &str) -> Option<&'a RawValue> {
    object.get(key).filter(|raw| raw.get() != "null")
}

/// The items of a list, or the value itself if it is not a list.
pub(super) fn items_of(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| vec![raw])
}

/// The first value that `pick` returns for a result that is an object, or for an object in a result that is a list. Only
/// one object at a time is parsed in memory.
pub(super) fn find_object<'a, T>(
    result: &'a str,
    pick: impl Fn(&RawObject<'a>) -> Option<T>,
) -> Option<T> {
    let pick = |text: &'a str| pick(&fields(text)?);
    if !result.starts_with('[') {
        return pick(result);
    }
    let items: Vec<&RawValue> = serde_json::from_str(result).ok()?;
    items.into_iter().find_map(|item| pick(item.get()))
}

/// Depth of the nesting of lists and objects in a text, JSON or not.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_counts_and_escapes_in_keys_are_read() {
        let object = object(r#"{"a":1,"b":{"a":2},"\u0061":3,"c\n":4}"#).unwrap();
        let value = |key| object.get(key).map(RawValue::get);
        assert_eq!(value("a"), Some("3"));
        assert_eq!(value("b"), Some(r#"{"a":2}"#));
        assert_eq!(value("c\n"), Some("4"));
        assert_eq!(value("d"), None);
    }

    #[test]
    fn depth_is_counted_outside_of_texts_only() {
        for (text, depth) in [
            ("7", 0),
            ("{}", 1),
            (r#"{"a":[[1],{"b":[]}]}"#, 4),
            (r#"{"[[[\"[[":"]]{{"}"#, 1),
        ] {
            assert_eq!(depth_of(text), depth, "{text}");
        }
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(checked(&nested(MAX_DEPTH)).is_ok());
        assert!(checked(&nested(MAX_DEPTH + 1)).is_err());
    }
}
