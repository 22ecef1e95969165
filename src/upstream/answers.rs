//! Memory for the answers to polls: while they are read, and until what follows from them is recorded.

use crate::core::observe::MAX_BYTES_AT_ONCE;
use crate::memory::{Memory, Reservation};

/// Largest answer that is read without a reservation, in bytes (16 KiB).
pub(super) const SMALL: usize = 16 << 10;

/// Memory for larger answers while they are read and decompressed, in bytes (32 MiB).
const READING: usize = 32 << 20;

/// Memory for what follows from larger answers until it is recorded, in bytes (48 MiB).
const LARGE: usize = 48 << 20;

/// The same for smaller answers (16 MiB), which thus do not wait behind large ones.
const LITTLE: usize = 16 << 20;

/// How many bytes one byte of an answer may take at once until it is recorded: the text, steps and results before and
/// after, transitions and their events.
const COST: usize = 12;

/// How many bytes each value in an answer takes in addition: lists of values, tables of keys.
const COST_OF_VALUE: usize = 64;

/// Shared by all polls, also across a reload. Clones share it.
#[derive(Debug, Clone)]
pub struct AnswerMemory {
    pub(super) reading: Memory,
    large: Memory,
    little: Memory,
}

impl Default for AnswerMemory {
    fn default() -> Self {
        Self::of(Memory::of(READING), Memory::of(LARGE))
    }
}

impl AnswerMemory {
    /// With this memory for reading answers and for what follows from large ones.
    #[must_use]
    pub fn of(reading: Memory, large: Memory) -> Self {
        Self {
            reading,
            large,
            little: Memory::of(LITTLE),
        }
    }

    /// For what may follow from an answer with this body; it contains the body.
    pub(super) async fn for_what_follows(&self, body: &[u8]) -> Reservation {
        let memory = if body.len() > SMALL {
            &self.large
        } else {
            &self.little
        };
        memory.reserve(cost_of(body)).await
    }
}

/// The most memory that may follow from an answer, estimated from its bytes without parsing it.
fn cost_of(body: &[u8]) -> usize {
    // As text, bytes that are not UTF-8 are three each.
    let is_text = std::str::from_utf8(body).is_ok();
    let text = body.len() * if is_text { 1 } else { 3 };
    let values = body.iter().filter(|byte| **byte == b',').count();
    // Each challenge and each queued step has an event that holds the whole answer; a step is an object with a result that
    // is one.
    let steps = body.iter().filter(|byte| **byte == b'{').count() / 2;
    let events = (text * steps).min(MAX_BYTES_AT_ONCE);
    text * COST + values * COST_OF_VALUE + events
}
