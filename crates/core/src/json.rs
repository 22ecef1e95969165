//! JSON texts that are kept and compared without building their values: an answer of 1 MiB can hold half a million values,
//! which would take eighty times its bytes.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::LazyLock;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON value, verbatim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(Box<RawValue>);

impl Verbatim {
    /// Its JSON.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// The content of a string; `None` for any other value.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::from_str(self.0.get()).ok()
    }
}

impl Default for Verbatim {
    fn default() -> Self {
        RawValue::NULL.into()
    }
}

impl From<&RawValue> for Verbatim {
    fn from(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }
}

impl From<String> for Verbatim {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// The text as a JSON string.
impl From<&str> for Verbatim {
    fn from(text: &str) -> Self {
        to_raw_value(text).map_or_else(|_| Self::default(), Self)
    }
}

/// Compares byte by byte.
impl PartialEq for Verbatim {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Verbatim {}

/// Two hashes of 64 bits with secret random keys, so that an answer cannot be built to collide.
static KEYS: LazyLock<[RandomState; 2]> =
    LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// Whether both are the same JSON value; the order of keys does not matter (docs/jobs.md, "What is recorded"). Texts
/// that are not JSON are compared byte by byte.
#[must_use]
pub fn same_value(a: &str, b: &str) -> bool {
    a == b || digest(a).is_some_and(|of_a| Some(of_a) == digest(b))
}

/// A hash that is equal for two texts of the same JSON value; `None` for a text that is not JSON.
#[must_use]
pub fn digest(text: &str) -> Option<u128> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let digest = Digest.deserialize(&mut reader).ok()?;
    reader.end().ok().map(|()| digest)
}

fn mix(kind: u8, value: impl Hash) -> u128 {
    let [high, low] = KEYS.each_ref().map(|key| key.hash_one((kind, &value)));
    (u128::from(high) << 64) | u128::from(low)
}

/// Reads one value and returns its digest.
struct Digest;

impl<'de> DeserializeSeed<'de> for Digest {
    type Value = u128;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Digest {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<u128, E> {
        Ok(mix(0, ()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<u128, E> {
        Ok(mix(1, value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u128, E> {
        Ok(mix(6, value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u128, E> {
        Ok(mix(7, value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u128, E> {
        Ok(mix(2, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u128, A::Error> {
        let mut whole = mix(3, ());
        while let Some(item) = items.next_element_seed(Digest)? {
            whole = mix(3, (whole, item));
        }
        Ok(whole)
    }

    /// Numbers that are not whole, or larger than 64 bits, come as an object with their text, so that no digit is lost.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<u128, A::Error> {
        let mut whole = 0_u128;
        while let Some(key) = entries.next_key_seed(Digest)? {
            let value = entries.next_value_seed(Digest)?;
            // A sum does not depend on the order of keys.
            whole = whole.wrapping_add(mix(4, (key, value)));
        }
        Ok(mix(5, whole))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn values_are_compared_and_not_their_texts() {
        for (a, b) in [
            (
                r#"{"a":1,"b":[{"c":null,"d":"x"}]}"#,
                r#"{ "b": [{"d":"x","c":null}], "a": 1 }"#,
            ),
            (r#""ü""#, r#""\u00fc""#),
            ("[]", " [ ] "),
            (
                "[123456789012345678901234567890,0.1,-1]",
                "[123456789012345678901234567890, 0.1, -1]",
            ),
        ] {
            assert!(same_value(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[[1,2]]"),
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":1,"b":1}"#),
            (r#""1""#, "1"),
            ("null", "false"),
            ("[]", "{}"),
            ("{}", "null"),
            ("1", "-1"),
            ("1", "1.5"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567891",
            ),
            ("[1", "[1,"),
            ("{} {}", "{}"),
        ] {
            assert!(!same_value(a, b), "{a} {b}");
        }
        assert!(same_value("no JSON", "no JSON"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3_i64).prop_map(Value::from),
            "[ab\"é]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[ab]{0,2}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn digests_are_the_same_exactly_for_the_same_values(a in value(), b in value()) {
            let pretty = serde_json::to_string_pretty(&a).unwrap();
            prop_assert!(same_value(&a.to_string(), &pretty));
            prop_assert_eq!(same_value(&a.to_string(), &b.to_string()), a == b);
        }
    }
}
