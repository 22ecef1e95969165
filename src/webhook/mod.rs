//! The sender of webhooks: its own client, its address guard, its body limits.

mod settings;

mod sender;

mod outcome;

mod resolver;

mod guard;

pub use guard::{Verdict, judge, judge_host};
pub use sender::{AttemptReport, MAX_ANSWER, Message, Sender, SenderError};
pub use settings::WebhookSettings;
