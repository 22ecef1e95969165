//! Chance from the seed. What is drawn for one thing depends on the seed and on that thing alone, so that a part of the plan
//! can be left out without changing what the others draw.

use std::fmt::Write as _;

/// A source of numbers that depend on the seed and on what they are drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(u64);

/// Numbers in a row, for the making of one part of the plan.
#[derive(Debug)]
pub(crate) struct Draws(fastrand::Rng);

/// FNV-1a, 64 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// The finalizer of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The chance of something with this name and number.
    pub(crate) fn of(self, name: &str, number: u64) -> Self {
        let mut digest = Digest(self.0);
        digest.add(name.as_bytes());
        Self(mix(digest.value() ^ mix(number)))
    }

    pub(crate) fn draws(self) -> Draws {
        Draws(fastrand::Rng::with_seed(self.0))
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(self, end: u64) -> u64 {
        mix(self.0) % end.max(1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn hits(self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

impl Draws {
    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high.max(low))
    }

    /// From `low` to `high`, small numbers as often as large ones.
    pub(crate) fn scale(&mut self, low: u64, high: u64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "times of a plan are far below 2^52"
        )]
        let (from, to) = ((low.max(1) as f64).ln(), (high.max(1) as f64).ln());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two positive whole numbers"
        )]
        let drawn = (from + (to - from).max(0.0) * self.0.f64()).exp() as u64;
        drawn.clamp(low, high.max(low))
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.0.usize(0..length.max(1))
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.usize(0..from.len())]
    }

    /// So many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.0.u64(0..100) < percent
    }

    pub(crate) fn fraction(&mut self) -> f64 {
        self.0.f64()
    }

    /// A text that looks like a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut text = String::new();
        for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            let dash = if at == 0 { "" } else { "-" };
            let part = self.0.u64(..) & ((1 << (4 * length)) - 1);
            let _ = write!(text, "{dash}{part:0length$x}");
        }
        text
    }
}
