//! Files that clients uploaded.

use std::collections::VecDeque;

use serde_json::{Value, json};

use jobtrackd_core::time::UnixMillis;

/// All files together, in bytes: 256 MiB; the oldest are dropped first.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Files kept; the oldest is dropped first.
const MAX_FILES: usize = 10_000;

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) purpose: String,
    pub(super) created: UnixMillis,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    all: VecDeque<File>,
    bytes: usize,
}

impl File {
    /// What the API says of it.
    pub(super) fn record(&self) -> Value {
        json!({
            "id": self.id, "object": "file", "bytes": self.bytes.len(),
            "created_at": self.created.seconds(), "filename": self.name, "purpose": self.purpose,
            "status": "processed",
        })
    }
}

impl Files {
    pub(super) fn insert(&mut self, file: File) {
        self.bytes += file.bytes.len();
        self.all.push_back(file);
        while self.all.len() > MAX_FILES || (self.bytes > MAX_BYTES && self.all.len() > 1) {
            let oldest = self.all.pop_front();
            self.bytes -= oldest.map_or(0, |file| file.bytes.len());
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&File> {
        self.all.iter().find(|file| file.id == id)
    }

    /// Takes a file away; whether it was there.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let index = self.all.iter().position(|file| file.id == id);
        let removed = index.and_then(|index| self.all.remove(index));
        self.bytes -= removed.as_ref().map_or(0, |file| file.bytes.len());
        removed.is_some()
    }

    /// Newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &File> {
        self.all.iter().rev()
    }
}
