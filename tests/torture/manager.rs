//! The service manager's side of the notify socket: when the watchdog was fed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UnixDatagram;
use tokio::time::Instant;

/// What a service manager would kill the daemon after.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(4);

pub(crate) struct Manager {
    socket: PathBuf,
    fed: Arc<Mutex<Fed>>,
}

struct Fed {
    last: Instant,
    longest: Duration,
    times: usize,
}

impl Manager {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path)?;
        let first = Fed {
            last: Instant::now(),
            longest: Duration::ZERO,
            times: 0,
        };
        let fed = Arc::new(Mutex::new(first));
        let shared = Arc::clone(&fed);
        tokio::spawn(async move {
            let mut message = vec![0; 8192];
            while let Ok(length) = socket.recv(&mut message).await {
                if String::from_utf8_lossy(&message[..length]).contains("WATCHDOG=1") {
                    shared.lock().feed();
                }
            }
        });
        Ok(Self { socket: path, fed })
    }

    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let micros = WATCHDOG.as_micros().to_string();
        [
            ("NOTIFY_SOCKET", self.socket.display().to_string()),
            ("WATCHDOG_USEC", micros),
        ]
    }

    /// Measures from now on.
    pub(crate) fn reset(&self) {
        *self.fed.lock() = Fed {
            last: Instant::now(),
            longest: Duration::ZERO,
            times: 0,
        };
    }

    /// The longest time without food so far, this moment's included, and how often there was some.
    pub(crate) fn hunger(&self) -> (Duration, usize) {
        let fed = self.fed.lock();
        (fed.longest.max(fed.last.elapsed()), fed.times)
    }
}

impl Fed {
    fn feed(&mut self) {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
        self.times += 1;
    }
}
