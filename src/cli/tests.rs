//! What tests of several commands share, and the command line as a whole.

pub(super) mod fixture;

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};
use serde_json::Value;

use super::Cli;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// The names of the commands that have `--json`, each behind those of its parents.
fn with_json(command: &Command, name: &str, found: &mut BTreeSet<String>) {
    let mut arguments = command.get_arguments();
    if arguments.any(|argument| argument.get_long() == Some("json")) {
        found.insert(name.to_owned());
    }
    for inner in command.get_subcommands() {
        let name = format!("{name}-{}", inner.get_name());
        with_json(inner, name.trim_start_matches('-'), found);
    }
}

#[test]
fn every_command_with_json_has_a_schema() {
    let schemas = include_str!("../../schemas/commands.json");
    let schemas: Value = serde_json::from_str(schemas).unwrap();
    let described = schemas["$defs"].as_object().unwrap().keys();
    let described = described.filter(|name| name.starts_with(char::is_lowercase));
    let mut found = BTreeSet::new();
    with_json(&Cli::command(), "", &mut found);
    assert_eq!(found, described.cloned().collect());
}
