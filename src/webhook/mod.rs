//! The sender of webhooks: its own client, its address guard, its body limits.

mod settings;

mod sender;

mod answer;

mod outcome;

mod resolver;

mod guard;

mod header;

mod trust;

mod shown;

pub use guard::{Verdict, judge, judge_host};
pub use header::{CustomHeader, InvalidHeader};
pub use sender::{AttemptReport, Message, Sender, SenderError};
pub use settings::WebhookSettings;
pub use shown::{Shown, holds_secrets, shown_url};
pub use trust::{InvalidPem, Trust};
