//! Messages to the service manager (`sd_notify(3)`). Without one nothing is sent anywhere.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tracing::warn;

/// How much more time a start or a reload is given each time it needs it; see [`ServiceManager::needs_more_time`].
pub const MORE_TIME: Duration = Duration::from_secs(30);

/// The socket of `NOTIFY_SOCKET`, and the status line sent last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    line: Arc<Mutex<String>>,
}

impl ServiceManager {
    /// The daemon follows jobs, after a start or a reload.
    pub fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    /// A reload has begun; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd finds out by the time whether this answers its latest request (Type=notify-reload).
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
    }

    /// The daemon is stopping.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// The line of `systemctl status`. The same line again is not sent again.
    pub fn status(&self, line: String) {
        let mut sent = self.line.lock();
        if *sent != line {
            notify(&[NotifyState::Status(&line)]);
            *sent = line;
        }
    }

    /// All loops advance.
    pub fn alive(&self) {
        notify(&[NotifyState::Watchdog]);
    }

    /// The start, the reload or the stop takes longer: it gets [`MORE_TIME`] from now.
    pub fn needs_more_time(&self) {
        let micros = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
        notify(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// Within which time [`ServiceManager::alive`] has to be called again (`WatchdogSec=`); `None`: there is no watchdog.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|every| !every.is_zero())
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager could not be notified");
    }
}
