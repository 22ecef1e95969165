//! Chromium without a window, driven by its DevTools protocol: JSON over two pipes, each message ended by a zero byte.
//!
//! One process for all tests. It ends when the pipes close, so it never outlives them.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::support::waiting::PATIENCE;

/// Its names on different systems.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Gives it a profile of its own, which is removed at its end, and the pipes where it expects them.
const START: &str = r#"profile=$(mktemp -d) && "$@" --user-data-dir="$profile" 3<&0 4>&1 </dev/null >/dev/null 2>&1
# Its children may still write there for a moment.
for _ in 1 2 3 4 5; do rm -rf "$profile" && break; sleep 1; done"#;

const OPTIONS: [&str; 9] = [
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// The folder that `.ci/tools` prints; `None`, with the reason printed once, where none is named.
pub(super) fn tools() -> Option<&'static Path> {
    static TOOLS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let tools = TOOLS.get_or_init(|| {
        let tools = std::env::var_os("CI_TOOLS").map(PathBuf::from);
        if tools.is_none() {
            skipped("axe and html-validate: CI_TOOLS does not name the folder of .ci/tools");
        }
        tools
    });
    tools.as_deref()
}

/// Says so to whoever runs the tests, past what keeps the output of tests that pass.
fn skipped(reason: &str) {
    // Nothing depends on the words.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// The browser.
pub(super) struct Chromium {
    commands: Mutex<ChildStdin>,
    number: AtomicU64,
    shared: Arc<Shared>,
    _process: Child,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Who listens to the events of a page.
    pages: Mutex<HashMap<String, mpsc::UnboundedSender<Value>>>,
}

impl Chromium {
    /// The one of this process; `None`, with the reason printed once, where there is none.
    pub(super) fn of_this_process() -> Option<&'static Self> {
        static CHROMIUM: OnceLock<Option<Chromium>> = OnceLock::new();
        let chromium = CHROMIUM.get_or_init(|| {
            let chromium = Self::start();
            if chromium.is_none() {
                assert!(
                    tools().is_none(),
                    "CI_TOOLS is set, and chromium is missing"
                );
                skipped("pages in a browser: there is no chromium on the search path");
            }
            chromium
        });
        chromium.as_ref()
    }

    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let places = std::env::split_paths(&path);
        let mut programs = places.flat_map(|place| NAMES.map(|name| place.join(name)));
        let program = programs.find(|program| program.is_file())?;
        let mut process = Command::new("sh")
            .args(["-c", START, "sh"])
            .arg(program)
            .args(OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shared = Arc::<Shared>::default();
        let (said, listening) = (process.stdout.take().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || listening.listen(said));
        Some(Self {
            commands: Mutex::new(process.stdin.take().unwrap()),
            number: AtomicU64::new(1),
            shared,
            _process: process,
        })
    }

    /// Sends a command and returns its result. `session` is the page it is for.
    pub(super) async fn command(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let answer = self.send(session, method, parameters);
        let answer = timeout(PATIENCE, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method}"));
        let mut answer = answer.expect("the browser has ended");
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Sends a command; the answer may be dropped.
    pub(super) fn send(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> oneshot::Receiver<Value> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.shared.answers.lock().insert(number, answered);
        let mut command = json!({"id": number, "method": method});
        command["params"] = parameters;
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        let mut commands = self.commands.lock();
        // One that has ended answers nothing, which is noticed.
        let _ = commands.write_all(&bytes).and_then(|()| commands.flush());
        answer
    }

    /// What happens in a page from now on.
    pub(super) fn events(&self, session: &str) -> mpsc::UnboundedReceiver<Value> {
        let (happening, events) = mpsc::unbounded_channel();
        let mut pages = self.shared.pages.lock();
        pages.insert(session.to_owned(), happening);
        events
    }
}

impl Shared {
    fn listen(&self, said: ChildStdout) {
        let mut said = BufReader::new(said);
        let mut bytes = Vec::new();
        while said.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
            let message: Option<Value> =
                serde_json::from_slice(&bytes[..bytes.len().saturating_sub(1)]).ok();
            bytes.clear();
            let Some(message) = message else { break };
            if let Some(number) = message["id"].as_u64() {
                let answered = self.answers.lock().remove(&number);
                // Whoever does not wait for the answer does not need it.
                let _ = answered.map(|answered| answered.send(message));
            } else if let Some(session) = message["sessionId"].as_str() {
                let mut pages = self.pages.lock();
                let is_closed = pages
                    .get(session)
                    .is_some_and(|page| page.send(message.clone()).is_err());
                if is_closed {
                    pages.remove(session);
                }
            }
        }
        // Whoever still waits learns that it has ended.
        self.answers.lock().clear();
    }
}
