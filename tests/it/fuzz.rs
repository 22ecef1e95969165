//! Bytes from outside: whatever they are, nothing panics, nothing grows beyond its bounds, and no secret is repeated.
//!
//! The corpora in `fuzz/corpus/NAME` are replayed as they are; then come mutations of them, and bytes without any form. The
//! same checks are the targets of `cargo fuzz` (docs/development.md, "Fuzzing").

mod checks;
mod generated;
mod requests;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use rustix::time::{ClockId, clock_gettime};

use checks::ALL;

/// Mutations of a corpus, for each check.
const MUTATIONS: u32 = 128;
/// The longest that one input may take, in seconds of the processor.
const LONGEST: f64 = 5.0;

/// The files of a corpus.
fn kept(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let kept = files(&corpora.join(name));
    assert!(kept.len() >= 3, "{name}: a corpus has something in it");
    kept
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// The corpus of answers, and what the dialects' own tests read.
fn samples(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut samples = kept(name);
    if name == "answer" {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/core/fixtures");
        for dialect in fs::read_dir(fixtures).unwrap() {
            samples.extend(files(&dialect.unwrap().path()));
        }
    }
    samples
}

/// What this thread has computed so far, in seconds.
fn computed() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u32::try_from(time.tv_sec).map_or(f64::MAX, f64::from);
    seconds + u32::try_from(time.tv_nsec).map_or(0.0, f64::from) / 1e9
}

#[test]
fn every_input_that_was_kept_passes_its_check_and_takes_little_time() {
    for (name, check) in ALL {
        for (path, bytes) in samples(name) {
            let began = computed();
            check(&bytes);
            let took = computed() - began;
            assert!(took < LONGEST, "{}: {took} s", path.display());
        }
    }
}

#[test]
fn mutations_of_what_was_kept_pass_the_checks() {
    for (name, check) in ALL {
        let samples: Vec<Vec<u8>> = samples(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mutations = (any::<Index>(), proptest::collection::vec(mutation(), 1..6));
        runner(MUTATIONS)
            .run(&mutations, |(sample, mutations)| {
                let mut bytes = sample.get(&samples).clone();
                for mutation in &mutations {
                    mutation.apply(&mut bytes, &samples);
                }
                check(&bytes);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn bytes_without_any_form_pass_the_checks() {
    for (name, check) in ALL {
        let bytes = proptest::collection::vec(any::<u8>(), 0..2000);
        runner(MUTATIONS / 2)
            .run(&bytes, |bytes| {
                check(&bytes);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// A part comes again, which makes long and deep things.
    Repeat(Index, Index, u16),
    /// A part of another sample.
    Splice(Index, Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..8),
        proptest::sample::select(TOKENS.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
    ];
    prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        4 => (any::<Index>(), token).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        1 => (any::<Index>(), any::<Index>(), 2..300_u16).prop_map(|(from, to, times)| Mutation::Repeat(from, to, times)),
        2 => (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(at, sample, from)| Mutation::Splice(at, sample, from)),
        1 => any::<Index>().prop_map(Mutation::Cut),
    ]
}

/// What parsers stumble over.
const TOKENS: [&str; 24] = [
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "-0",
    "1e999",
    "99999999999999999999",
    "0.1",
    ",",
    ":",
    "\r\n",
    "\n\n",
    "\0",
    "\u{202e}",
    "''",
    "\"\"\"",
    "%25%32%65",
];

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let place = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        let range = |one: &Index, other: &Index, bytes: &[u8]| {
            let (one, other) = (place(one, bytes), place(other, bytes));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Flip(at, mask) => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Self::Insert(at, token) => {
                let at = place(at, bytes);
                bytes.splice(at..at, token.iter().copied());
            }
            Self::Remove(from, to) => drop(bytes.drain(range(from, to, bytes))),
            Self::Repeat(from, to, times) => {
                let range = range(from, to, bytes);
                let part = bytes[range.clone()].to_vec();
                let times = usize::from(*times).min(60_000 / part.len().max(1));
                bytes.splice(range.end..range.end, part.repeat(times));
            }
            Self::Splice(at, sample, from) => {
                let at = place(at, bytes);
                let part = sample.get(samples);
                bytes.splice(at..at, part[place(from, part)..].iter().copied());
            }
            Self::Cut(at) => bytes.truncate(place(at, bytes)),
        }
    }
}
