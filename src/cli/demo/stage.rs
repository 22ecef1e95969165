//! What the demo runs on: a folder, the simulated API, a webhook receiver, and the daemon between them.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::plan::{self, AUDIT, BILLING, at_pace};
use crate::app::{Daemon, Surroundings};
use crate::clock::{Clock, Jitter};
use crate::config::{self, Settings, Sources};
use crate::simulator::{Hook, Receiver, ReceiverSettings, Reply, Simulator, SimulatorSettings};
use crate::store::Store;

/// How long a token lives; the API counts in seconds.
const TOKEN_LIFE: Duration = Duration::from_secs(8);

/// How many times faster than in reality the stories go that have no time of their own.
const SPEED: f64 = 2.0;

/// The longest pause between two polls of a job while all is well.
const MAX_DELAY: Duration = Duration::from_millis(1_200);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folder: TempDir,
    pub(super) simulator: Simulator,
    pub(super) receiver: Receiver,
    pub(super) daemon: Daemon,
    /// A second handle on the database, as another program would have it.
    pub(super) outside: Store,
}

/// What the stage was when everything on it has stopped.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) folder: TempDir,
    pub(super) outside: Store,
    /// What the daemon said when it was stopped.
    pub(super) stopped: anyhow::Result<()>,
}

impl Stage {
    /// Starts everything; `refused` is a type of events that is never taken.
    pub(super) async fn set(
        pace: f64,
        refused: Option<&str>,
        prepare: impl FnOnce(&Settings) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("jobtrackd-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("failed to make a temporary folder")?;
        let key = random_base64();
        let simulator = Simulator::start(SimulatorSettings {
            speed: SPEED * pace,
            api_key: Some(key.clone()),
            token_life: at_pace(TOKEN_LIFE, pace).max(Duration::from_secs(1)),
            ..SimulatorSettings::default()
        })
        .await
        .context("failed to start the simulated API")?;
        for rule in plan::faults(pace) {
            simulator.control().inject(rule)?;
        }
        let hooks = [AUDIT, BILLING].map(|name| Hook {
            name: name.to_owned(),
            secret: format!("whsec_{}", random_base64()),
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
        for refusal in never.into_iter().chain(plan::refusals(pace)) {
            receiver.inbox().reply(refusal);
        }
        let text = configuration(
            folder.path(),
            simulator.base_url(),
            &key,
            &receiver,
            &hooks,
            pace,
        );
        let file = config_file(folder.path());
        write_private(&file, &text)?;
        let settings = config::load(&Sources {
            file: Some(file),
            ..Sources::default()
        })?;
        prepare(&settings)?;
        let path = settings.database.path.clone();
        let surroundings = Surroundings::default();
        let daemon = Daemon::start(settings, surroundings, &CancellationToken::new())
            .await
            .context("failed to start the daemon")?;
        let outside = Store::open(&path, Clock::system()).await?;
        Ok(Self {
            folder,
            simulator,
            receiver,
            daemon,
            outside,
        })
    }

    /// Stops the daemon first, so that it finds everybody still there. `hurry` cuts its waiting short.
    pub(super) async fn strike(self, hurry: &CancellationToken) -> Struck {
        let stopped = self.daemon.stop(hurry).await;
        self.receiver.shutdown().await;
        self.simulator.shutdown().await;
        Struck {
            folder: self.folder,
            outside: self.outside,
            stopped,
        }
    }
}

/// The configuration inside the folder.
pub(super) fn config_file(folder: &Path) -> PathBuf {
    folder.join("jobtrackd.toml")
}

/// How long nothing may happen before everything is over: a job that is still polled is polled in that time.
pub(super) fn quiet_time(pace: f64) -> Duration {
    at_pace(MAX_DELAY, pace).mul_f64(1.2) + Duration::from_millis(100)
}

fn configuration(
    folder: &Path,
    base_url: &str,
    key: &str,
    receiver: &Receiver,
    hooks: &[Hook; 2],
    pace: f64,
) -> String {
    let ms = |ms| {
        format!(
            "\"{}ms\"",
            at_pace(Duration::from_millis(ms), pace).as_millis()
        )
    };
    let retry: Vec<String> = [400, 800, 1_500, 2_000, 2_000].map(ms).to_vec();
    let [audit, billing] = hooks;
    let hook = |hook: &Hook, events: &str| {
        format!(
            "[webhooks.{name}]\nurl = \"{url}\"\nsecret = \"{secret}\"\n{events}retry = [{retry}]\n\
             allow_private = true\n\n",
            name = hook.name,
            url = receiver.url(&hook.name),
            secret = hook.secret,
            retry = retry.join(", "),
        )
    };
    format!(
        "# The configuration of a demo of jobtrackd: quick, and all of it on this machine.\n\n\
         [database]\nurl = {database}\n\n\
         [upstream]\nbase_url = \"{base_url}\"\napi_key = \"{key}\"\ntimeout = \"2s\"\n\n\
         [polling]\ninitial_delay = {initial}\nmultiplier = 1.3\nmax_delay = {max}\n\
         error_max_delay = {error}\nqueued_delay = {queued}\nnot_found_grace = {grace}\n\n\
         {audit}{billing}[status]\nlisten = \"\"\n\n[log]\nlevel = \"info\"\nformat = \"text\"\n",
        database = quoted(&format!("sqlite://{}", folder.join("jobs.db").display())),
        initial = ms(300),
        max = ms(u64::try_from(MAX_DELAY.as_millis()).unwrap_or(u64::MAX)),
        error = ms(1_500),
        queued = ms(5_000),
        grace = ms(3_500),
        audit = hook(audit, "events = [\"*\"]\n"),
        billing = hook(billing, ""),
    )
}

/// As a TOML text; JSON's are among them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// 32 random bytes, good enough for a key that opens nothing but the demo.
fn random_base64() -> String {
    let jitter = Jitter::system();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction of 256 is a byte"
    )]
    let bytes: [u8; 32] = std::array::from_fn(|_| (jitter.fraction() * 256.0) as u8);
    STANDARD.encode(bytes)
}
