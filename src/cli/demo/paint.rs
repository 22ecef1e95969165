//! Colours and symbols.

use serde_json::Value;

use crate::core::job::FailureKind;

/// Colours, if they are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) colours: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(super) fn blue(self, text: &str) -> String {
        self.with("36", text)
    }
}

/// One character for a step, by its status; a step that waits for its user has one of its own.
pub(super) fn symbol(status: &str, result: Option<&str>, paint: Paint) -> String {
    match status {
        "pending" => paint.dim("○"),
        "in-progress" if result.is_some_and(holds_challenge) => paint.yellow("?"),
        "in-progress" => paint.blue("◐"),
        "success" => paint.green("●"),
        "skipped" => paint.dim("●"),
        "failed" => paint.red("✗"),
        "missing" => paint.dim("·"),
        _ => paint.yellow("~"),
    }
}

/// Whether a result is, or holds, a challenge.
pub(super) fn holds_challenge(result: &str) -> bool {
    let is_mfa = |value: &Value| value["type"] == "mfa";
    match serde_json::from_str(result) {
        Ok(Value::Array(items)) => items.iter().any(is_mfa),
        Ok(value) => is_mfa(&value),
        Err(_) => false,
    }
}

/// The contract's word for a kind of failure.
pub(super) fn kind_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Step => "step",
        FailureKind::NotFound => "not_found",
        FailureKind::Rejected => "rejected",
        FailureKind::Expired => "expired",
        FailureKind::Cancelled => "cancelled",
    }
}
