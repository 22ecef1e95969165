//! The trace context that connects the attempts at one event in a receiver's traces (W3C Trace Context, version 00).

use sha2::{Digest, Sha256};

use super::text::push_hex;

/// Hexadecimal digits of a trace id, and of an event id after its prefix.
const TRACE_DIGITS: usize = 32;

/// The `traceparent` of an attempt: all attempts at an event are one trace and each attempt is one span; the same attempt
/// always has the same span id. `None` for an event id that is not ours.
#[must_use]
pub fn traceparent(event_id: &str, webhook: &str, attempt: u32) -> Option<String> {
    let (_, trace) = event_id.split_once('_')?;
    let digits = trace
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if trace.len() != TRACE_DIGITS || !digits || trace.bytes().all(|b| b == b'0') {
        return None;
    }
    let span = Sha256::digest(format!("{event_id}/{webhook}/{attempt}").as_bytes());
    let mut context = format!("00-{trace}-");
    push_hex(&mut context, span.get(..8)?);
    context.push_str("-01");
    Some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_at_an_event_are_spans_of_one_trace() {
        let id = "evt_0123456789abcdef0123456789abcdef";
        let first = traceparent(id, "billing", 1).unwrap();
        assert_eq!(first.len(), 55);
        assert!(
            first.starts_with("00-0123456789abcdef0123456789abcdef-") && first.ends_with("-01")
        );
        assert_eq!(traceparent(id, "billing", 1).unwrap(), first);
        assert_ne!(traceparent(id, "billing", 2).unwrap(), first);
        assert_ne!(traceparent(id, "audit", 1).unwrap(), first);
        for foreign in [
            "",
            "evt_",
            "evt_1",
            "evt_00000000000000000000000000000000",
            "x",
        ] {
            assert_eq!(traceparent(foreign, "billing", 1), None, "{foreign}");
        }
    }
}
