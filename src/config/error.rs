//! The problems of a configuration, all at once, each with a remedy.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use super::SecretFile;

/// Longest part of a value that is repeated in a problem, in characters.
const QUOTED_CHARS: usize = 60;

/// A configuration that cannot be used. The program ends with exit code 78 (`EX_CONFIG`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that was read; `None` when there was none.
    pub file: Option<PathBuf>,
    /// Everything that is wrong, at least one entry.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong. Neither the key nor the texts hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The full key (`polling.max_delay`), a position in the file (`line 3, column 7`), or the file itself.
    pub key: String,
    /// Where the value comes from, unless that is the file: `environment variable JOBTRACKD__…`.
    pub origin: Option<String>,
    /// What is wrong.
    pub wrong: String,
    /// What to do; may be empty.
    pub remedy: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(PathBuf),
    /// The name of an environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.wrong)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "bad configuration in {}", file.display())?,
            None => f.write_str("bad configuration (there is no file)")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects what is found while a configuration is read, so that all problems can be reported at once.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    secret_files: RefCell<Vec<SecretFile>>,
}

impl Problems {
    /// Neither text may hold a secret.
    pub(super) fn report(
        &self,
        key: impl Into<String>,
        origin: &Origin,
        wrong: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        // The file is named once, above all problems.
        let origin = matches!(origin, Origin::Variable(_)).then(|| origin.to_string());
        self.list.borrow_mut().push(Problem {
            key: key.into(),
            origin,
            wrong: wrong.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn found_secret(&self, file: SecretFile) {
        self.secret_files.borrow_mut().push(file);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Whether there is one with a key of this prefix.
    pub(super) fn any_of(&self, beginning: &str) -> bool {
        let list = self.list.borrow();
        list.iter().any(|each| each.key.starts_with(beginning))
    }

    pub(super) fn into_error(self, file: Option<PathBuf>) -> ConfigError {
        ConfigError {
            file,
            problems: self.list.into_inner(),
        }
    }

    pub(super) fn into_found(self) -> (Vec<String>, Vec<SecretFile>) {
        (self.warnings.into_inner(), self.secret_files.into_inner())
    }
}

/// A value in a problem: quoted, escaped and cut. Not for anything that may be a secret.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARS {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(QUOTED_CHARS).collect();
    format!("{cut:?}…")
}

/// `did you mean X?`, or `otherwise` when nothing is near.
pub(super) fn did_you_mean(near: Option<&str>, otherwise: &str) -> String {
    match near {
        Some(near) => format!("did you mean {near}?"),
        None => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed_one_per_line_after_the_file() {
        let problem = |key: &str, origin: Option<&str>| Problem {
            key: key.to_owned(),
            origin: origin.map(str::to_owned),
            wrong: "is wrong".to_owned(),
            remedy: "write 1".to_owned(),
        };
        let error = ConfigError {
            file: Some(PathBuf::from("/etc/x.toml")),
            problems: vec![
                problem("a.b", None),
                problem("c.d", Some("environment variable X")),
            ],
        };
        assert_eq!(
            error.to_string(),
            "bad configuration in /etc/x.toml\n  a.b: is wrong; write 1\n  c.d: is wrong; write 1 (environment variable X)"
        );
    }

    #[test]
    fn long_and_strange_values_are_cut_and_escaped() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(
            quoted(&"x".repeat(200)).chars().count(),
            QUOTED_CHARS + "\"\"…".chars().count()
        );
    }
}
