//! What is asked for on the command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use crate::scenarios::SCENARIOS;

/// The program under test, of the profile that this one is of.
const PROGRAM: &str = env!("CARGO_BIN_EXE_jobtrackd");

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) is_long: bool,
    pub(crate) seed: u64,
    pub(crate) binary: PathBuf,
    only: Vec<String>,
}

pub(crate) enum Asked {
    /// Nothing that takes long.
    Nothing,
    Run(Arguments),
}

impl Arguments {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
        let mut words = words.peekable();
        let (mut length, mut seed, mut binary, mut only) =
            (None, 1, PathBuf::from(PROGRAM), Vec::new());
        let mut rest = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--short" => length = Some(false),
                "--long" => length = Some(true),
                "--seed" => seed = value()?.parse().context("--seed takes a number")?,
                "--binary" => binary = std::path::absolute(value()?)?,
                "--only" => only.extend(value()?.split(',').map(str::to_owned)),
                _ => rest.push(word),
            }
        }
        let Some(is_long) = length else {
            // `cargo test -- WORDS` hands its words to every test.
            return Ok(Asked::Nothing);
        };
        if let Some(word) = rest.first() {
            bail!("{word} is not known here");
        }
        let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.name == *name);
        if let Some(name) = only.iter().find(|name| !known(name)) {
            let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            bail!(
                "there is no scenario {name}; there are: {}",
                names.join(", ")
            );
        }
        ensure!(binary.exists(), "{} does not exist", binary.display());
        Ok(Asked::Run(Self {
            is_long,
            seed,
            binary,
            only,
        }))
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
