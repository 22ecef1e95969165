//! The sender of webhooks: its own client, its address guard, its body limits.

mod settings;

pub use settings::WebhookSettings;
