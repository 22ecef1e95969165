//! The schemas under `schemas/`, as receivers use them and as strict as we are with ourselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// Of each command with `--json`, by its name: `webhook-list`.
pub(crate) static COMMANDS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let mut document = schema("commands.json");
    let definitions = document["$defs"].as_object_mut().unwrap();
    let names: Vec<String> = definitions.keys().cloned().collect();
    // A definition may be a part of others, so it is closed where it is used.
    definitions.values_mut().for_each(|each| close(each, false));
    let is_command = |name: &String| name.starts_with(char::is_lowercase);
    let validators = names.into_iter().filter(is_command).map(|name| {
        document["$ref"] = json!(format!("#/$defs/{name}"));
        let validator = validator(&strict(document.clone()));
        (name, validator)
    });
    validators.collect()
});

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

pub(crate) fn schema(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join(file)).unwrap()).unwrap()
}

/// The schema for somebody who wants to know every key: readers must not be so strict, since more keys may come.
pub(crate) fn strict(mut schema: Value) -> Value {
    close(&mut schema, true);
    schema
}

fn close(schema: &mut Value, is_whole: bool) {
    let Value::Object(keys) = schema else { return };
    if let Some(properties) = keys.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|each| close(each, true));
    }
    if let Some(items) = keys.get_mut("items") {
        close(items, true);
    }
    for (parts, are_whole) in [("allOf", false), ("oneOf", is_whole)] {
        let parts = keys.get_mut(parts).and_then(Value::as_array_mut);
        let parts = parts.into_iter().flatten();
        parts.for_each(|each| close(each, are_whole));
    }
    let describes_keys = ["properties", "allOf", "$ref"]
        .iter()
        .any(|key| keys.contains_key(*key));
    if is_whole && describes_keys {
        keys.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}

pub(crate) fn validator(schema: &Value) -> Validator {
    let options = jsonschema::draft202012::options();
    options.should_validate_formats(true).build(schema).unwrap()
}

#[track_caller]
pub(crate) fn assert_fits(validator: &Validator, value: &Value) {
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?} in {value:#}");
}

/// Asserts that what a command wrote with `--json` fits its schema; answers the command's name. Nothing is said of the
/// output of others.
#[track_caller]
pub(crate) fn assert_output_fits(arguments: &[&str], out: &str) -> Option<String> {
    if !arguments.contains(&"--json") {
        return None;
    }
    let names = [arguments.get(..2)?.join("-"), arguments[0].to_owned()];
    let found = names.iter().find_map(|name| COMMANDS.get_key_value(name));
    let (name, validator) = found.unwrap_or_else(|| panic!("no schema for {arguments:?}"));
    for line in out.lines() {
        assert_fits(validator, &serde_json::from_str(line).unwrap());
    }
    Some(name.clone())
}
