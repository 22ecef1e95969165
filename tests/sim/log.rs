//! All that happens, in order: its digest is the same whenever the seed is, and on request it is printed.

use std::fmt::{Arguments, Write as _};

use crate::chance::Digest;
use crate::time::{Time, shown};

/// The log of one run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    digest: Digest,
    lines: u64,
    line: String,
    /// Whether each line is printed.
    pub(crate) is_printed: bool,
}

impl Log {
    pub(crate) fn note(&mut self, at: Time, what: Arguments<'_>) {
        self.line.clear();
        let _ = self.line.write_fmt(what);
        self.digest.add(&at.to_le_bytes());
        self.digest.add(self.line.as_bytes());
        self.lines += 1;
        if self.is_printed {
            println!("{}  {}", shown(at), self.line);
        }
    }

    /// Something happened that is not worth a line.
    pub(crate) fn count(&mut self, at: Time) {
        self.digest.add(&at.to_le_bytes());
        self.lines += 1;
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.value()
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}
