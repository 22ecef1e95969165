//! Lines for programs: one flat JSON object each.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::line::Line;

/// `timestamp`, `level`, `message`, the event's fields, `target`.
pub(super) fn shown(line: &Line) -> String {
    // Nothing in a line can fail to be JSON.
    let mut text = serde_json::to_string(&Flat(line)).unwrap_or_default();
    text.push('\n');
    text
}

struct Flat<'a>(&'a Line);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(line) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &line.time.rfc3339())?;
        map.serialize_entry("level", line.level.as_str())?;
        map.serialize_entry("message", &line.message)?;
        for (name, value) in &line.fields {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("target", &line.target)?;
        map.end()
    }
}
