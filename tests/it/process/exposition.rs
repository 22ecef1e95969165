//! A strict reader of Prometheus text, version 0.0.4: what is not exactly as it should be is a failed test.

use std::collections::{BTreeMap, BTreeSet};

/// All of one answer.
#[derive(Debug)]
pub(super) struct Exposition {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    /// Label names but `le`.
    pub(super) labels: BTreeSet<String>,
    /// Suffix, labels, value.
    samples: Vec<(String, Labels, f64)>,
}

type Labels = BTreeMap<String, String>;

impl Exposition {
    pub(super) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut help: Option<(String, String)> = None;
        let mut open: Option<String> = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, said) = rest.split_once(' ').unwrap();
                assert_eq!(
                    help.replace((name.to_owned(), said.to_owned())),
                    None,
                    "{line}"
                );
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let (described, help) = help.take().unwrap_or_else(|| panic!("no help: {line}"));
                assert_eq!(described, name);
                let family = Family::new(kind, help);
                assert!(
                    families.insert(name.to_owned(), family).is_none(),
                    "twice: {line}"
                );
                open = Some(name.to_owned());
            } else {
                let name = open.as_deref().unwrap_or_else(|| panic!("no type: {line}"));
                families.get_mut(name).unwrap().add(name, line);
            }
        }
        for (name, family) in &families {
            family.check(name);
        }
        Self { families }
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.families.keys().map(String::as_str).collect()
    }

    pub(super) fn family(&self, name: &str) -> &Family {
        self.families
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// The value of a series such as `name{label="value"}`; `None` when it is not there.
    pub(super) fn get(&self, series: &str) -> Option<f64> {
        let (name, wanted) = split(series);
        let suffixes = ["", "_count", "_sum"];
        suffixes.into_iter().find_map(|suffix| {
            let family = self.families.get(name.strip_suffix(suffix)?)?;
            let mut samples = family.samples.iter();
            let found = samples.find(|(end, labels, _)| end == suffix && *labels == wanted)?;
            Some(found.2)
        })
    }

    /// The same, of a series that must be there.
    pub(super) fn value(&self, series: &str) -> f64 {
        self.get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.families))
    }
}

impl Family {
    fn new(kind: &str, help: String) -> Self {
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
        Self {
            kind: kind.to_owned(),
            help,
            labels: BTreeSet::new(),
            samples: Vec::new(),
        }
    }

    fn add(&mut self, family: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = split(series);
        let suffix = name
            .strip_prefix(family)
            .unwrap_or_else(|| panic!("not of {family}: {line}"));
        let fits = match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            _ => suffix.is_empty(),
        };
        assert!(fits, "{line}");
        let value: f64 = value.parse().unwrap();
        assert!(value >= 0.0, "{line}");
        assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line}");
        let twice = |(end, known, _): &(String, Labels, f64)| end == suffix && *known == labels;
        assert!(!self.samples.iter().any(twice), "twice: {line}");
        self.labels
            .extend(labels.keys().filter(|label| *label != "le").cloned());
        self.samples.push((suffix.to_owned(), labels, value));
    }

    fn check(&self, name: &str) {
        assert!(!self.samples.is_empty(), "{name} has no samples");
        assert_eq!(self.kind == "counter", name.ends_with("_total"), "{name}");
        let mut last: BTreeMap<Labels, (f64, f64)> = BTreeMap::new();
        for (suffix, labels, value) in &self.samples {
            let mut labels = labels.clone();
            if suffix == "_bucket" {
                let bound: f64 = labels.remove("le").unwrap().parse().unwrap();
                if let Some((below, count)) = last.insert(labels, (bound, *value)) {
                    assert!(below < bound && count <= *value, "{name} le {bound}");
                }
            } else if suffix == "_count" {
                assert_eq!(last.get(&labels), Some(&(f64::INFINITY, *value)), "{name}");
            }
        }
    }
}

/// The name and the labels of a series; no value of ours needs an escape.
fn split(series: &str) -> (&str, Labels) {
    let (name, list) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap()),
        None => (series, ""),
    };
    let word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(word(name), "{series}");
    let mut labels = Labels::new();
    for pair in list.split("\",").filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once("=\"").unwrap();
        let value = value.strip_suffix('"').unwrap_or(value);
        assert!(
            word(label) && !value.contains(['"', '\\', '\n']),
            "{series}"
        );
        assert_eq!(
            labels.insert(label.to_owned(), value.to_owned()),
            None,
            "{series}"
        );
    }
    (name, labels)
}
