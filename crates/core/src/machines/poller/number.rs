//! The numbers of followed jobs.

/// A followed job; another one may get the number when it is no longer followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(pub(super) u32);

impl Number {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
