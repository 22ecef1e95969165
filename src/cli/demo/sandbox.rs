//! The environment of a demo's daemon: a temporary folder with its configuration, the simulated API, and a webhook receiver.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SystemRandom, generate};
use tempfile::TempDir;

use super::jobs::{AUDIT, BILLING, faults, refusals};
use crate::config::{self, Settings, Sources};
use crate::simulator::{Hook, Receiver, ReceiverSettings, Reply, Simulator, SimulatorSettings};

/// The name of the configuration in the folder.
pub(super) const CONFIG_FILE: &str = "jobtrackd.toml";

/// How long a token lives; the API counts in seconds.
const TOKEN_LIFE: Duration = Duration::from_secs(8);

/// How many times faster than in reality jobs without their own times run.
const SPEED: f64 = 2.0;

/// The longest pause between two polls of a job while all is well.
const MAX_DELAY: Duration = Duration::from_millis(1_200);

/// All parts except the daemon.
#[derive(Debug)]
pub struct Sandbox {
    /// How many times faster than usual everything runs.
    pub pace: f64,
    /// The folder.
    pub folder: TempDir,
    /// The API.
    pub simulator: Simulator,
    /// The webhooks.
    pub receiver: Receiver,
    /// Whether the daemon serves its dashboard.
    dashboard: bool,
    /// The webhook `audit`.
    audit: Hook,
}

impl Sandbox {
    /// Starts everything; `refused` is a type of events that the webhooks never take; with `dashboard` the daemon has a status
    /// server.
    ///
    /// # Errors
    /// When a part cannot be started, or the folder cannot be written.
    pub async fn start(pace: f64, refused: Option<&str>, dashboard: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("jobtrackd-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("failed to make a temporary folder")?;
        let key = random_key()?;
        let simulator = Simulator::start(SimulatorSettings {
            speed: SPEED * pace,
            api_key: Some(key.clone()),
            token_life: TOKEN_LIFE.div_f64(pace).max(Duration::from_secs(1)),
            ..SimulatorSettings::default()
        })
        .await
        .context("failed to start the simulated API")?;
        for rule in faults(pace) {
            simulator.control().inject(rule)?;
        }
        let secret = || anyhow::Ok(format!("whsec_{}", random_key()?));
        let hooks = [(AUDIT, secret()?), (BILLING, secret()?)];
        let hooks = hooks.map(|(name, secret)| Hook {
            name: name.to_owned(),
            secret,
        });
        let receiver = Receiver::start(ReceiverSettings {
            hooks: hooks.to_vec(),
            ..ReceiverSettings::default()
        })
        .await
        .context("failed to start the webhook receiver")?;
        let never = refused.map(|event| Reply {
            event: Some(event.to_owned()),
            status: 500,
            ..Reply::default()
        });
        for refusal in never.into_iter().chain(refusals(pace)) {
            receiver.inbox().reply(refusal);
        }
        let sandbox = Self {
            pace,
            folder,
            simulator,
            receiver,
            dashboard,
            audit: hooks[0].clone(),
        };
        sandbox.write(CONFIG_FILE, &sandbox.configuration(&key, &hooks))?;
        Ok(sandbox)
    }

    /// Writes a file into the folder that its owner alone can read.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let file = self.folder.path().join(name);
        let mut options = OpenOptions::new();
        let private = options.write(true).create_new(true).mode(0o600).open(&file);
        private
            .and_then(|mut to| to.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// The section of webhook `audit`, for another daemon.
    pub(super) fn audit(&self) -> String {
        format!(
            "[webhooks.{AUDIT}]\nurl = \"{}\"\nsecret = \"{}\"\nevents = [\"*\"]\nallow_private = true\n",
            self.receiver.url(AUDIT),
            self.audit.secret
        )
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join(CONFIG_FILE)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(config::load(&Sources {
            file: Some(self.config_file()),
            ..Sources::default()
        })?)
    }

    /// If nothing happens for this long, everything is over: a job that is still followed is polled in that time.
    #[must_use]
    pub fn quiet_time(&self) -> Duration {
        MAX_DELAY.div_f64(self.pace).mul_f64(1.2) + Duration::from_millis(100)
    }

    fn configuration(&self, key: &str, [audit, billing]: &[Hook; 2]) -> String {
        let time = |time: Duration| format!("\"{}ms\"", time.div_f64(self.pace).as_millis());
        let ms = |ms| time(Duration::from_millis(ms));
        let database = self.folder.path().join("jobs.db");
        format!(
            include_str!("config.toml.in"),
            // JSON's texts are among those of TOML.
            database = serde_json::Value::from(format!("sqlite://{}", database.display())),
            base_url = self.simulator.base_url(),
            key = key,
            initial = ms(300),
            max = time(MAX_DELAY),
            error = ms(1_500),
            queued = ms(5_000),
            grace = ms(3_500),
            retry = [400, 800, 1_500, 2_000, 2_000].map(ms).join(", "),
            audit_url = self.receiver.url(&audit.name),
            audit_secret = audit.secret,
            billing_url = self.receiver.url(&billing.name),
            billing_secret = billing.secret,
            listen = if self.dashboard {
                "\"127.0.0.1:0\""
            } else {
                "\"\""
            },
        )
    }
}

/// 32 random bytes.
fn random_key() -> anyhow::Result<String> {
    let bytes = generate::<[u8; 32]>(&SystemRandom::new());
    let bytes = bytes.map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(STANDARD.encode(bytes.expose()))
}
