//! What is wrong with the host, looked for from time to time while somebody looks at a page that shows it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::figures::SOON;

/// How often the host is examined at most.
const FRESH: Duration = Duration::from_secs(60);

/// Something that is wrong with the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFinding {
    /// Whether it does not work, and not only may soon not.
    pub is_problem: bool,
    /// What is so.
    pub text: String,
    /// Why it matters, and what to type; may be empty.
    pub advice: String,
}

type Finding = Pin<Box<dyn Future<Output = Vec<HostFinding>> + Send>>;

/// Examines the host.
#[derive(Clone)]
pub struct HostProbe(Arc<dyn Fn() -> Finding + Send + Sync>);

impl HostProbe {
    /// From a function that returns what is wrong. It must end.
    pub fn new<F>(probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<HostFinding>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(probe())))
    }
}

impl fmt::Debug for HostProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostProbe")
    }
}

/// The last findings. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Host {
    probe: Option<HostProbe>,
    last: Arc<Mutex<Last>>,
}

#[derive(Debug, Default)]
struct Last {
    findings: Option<Arc<Vec<HostFinding>>>,
    is_examined: bool,
    next_at: Option<Instant>,
}

impl Host {
    /// Examined by this; by nothing where there is none.
    #[must_use]
    pub fn new(probe: Option<HostProbe>) -> Self {
        Self {
            probe,
            last: Arc::default(),
        }
    }

    /// The last findings, or others if those are due and come soon; `None` before the first.
    pub(super) async fn findings(&self) -> Option<Arc<Vec<HostFinding>>> {
        let Some(probe) = &self.probe else {
            return Some(Arc::default());
        };
        let examining = {
            let mut last = self.last.lock();
            let is_due = last.next_at.is_none_or(|at| at <= Instant::now());
            let begins = is_due && !last.is_examined;
            last.is_examined |= begins;
            begins.then(|| tokio::spawn(self.clone().examine(probe.clone())))
        };
        if let Some(examining) = examining {
            // What comes later is shown later.
            let _ = timeout(SOON, examining).await;
        }
        self.last.lock().findings.clone()
    }

    async fn examine(self, HostProbe(probe): HostProbe) {
        let findings = probe().await;
        let mut last = self.last.lock();
        last.findings = Some(Arc::new(findings));
        last.is_examined = false;
        last.next_at = Some(Instant::now() + FRESH);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_host_is_examined_once_a_minute_while_somebody_looks_and_never_twice_at_once() {
        let (times, hangs) = (Arc::new(AtomicUsize::new(0)), Duration::from_secs(90));
        let counted = Arc::clone(&times);
        let host = Host::new(Some(HostProbe::new(move || {
            let time = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if time == 2 {
                    tokio::time::sleep(hangs).await;
                }
                let text = time.to_string();
                vec![HostFinding {
                    is_problem: true,
                    text,
                    advice: String::new(),
                }]
            }
        })));
        let mut seen = Vec::new();
        for _ in 0..11 {
            let found = host.findings().await.unwrap();
            seen.push(found[0].text.clone());
            tokio::time::advance(Duration::from_secs(30)).await;
            tokio::task::yield_now().await;
        }
        let expected = ["0", "0", "1", "1", "1", "1", "1", "2", "2", "3", "3"];
        assert_eq!(seen, expected, "the third one took 90 s");
        assert_eq!(times.load(Ordering::Relaxed), 4);
        let nothing = Host::new(None);
        assert_eq!(nothing.findings().await.map(|found| found.len()), Some(0));
    }
}
