//! The sender of webhooks: its HTTP clients, its address rules, its body limits.

mod settings;

mod sender;

mod answer;

mod outcome;

mod resolver;

mod guard;

mod header;

mod trust;

mod redacted;

pub use crate::core::delivery::AttemptReport;
pub use guard::{Verdict, judge, judge_host};
pub use header::{CustomHeader, InvalidHeader};
pub use redacted::{PrintedRequest, holds_secrets, redacted_url};
pub use sender::{Message, Sender, SenderError};
pub use settings::WebhookSettings;
pub use trust::{InvalidPem, Trust};
