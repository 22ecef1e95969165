//! A page in a browser, as its user sees it and acts on it.

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::chromium::Chromium;
use crate::support::waiting::{PATIENCE, found};

/// Most pages at once; more would only wait for the processor.
static PAGES: Semaphore = Semaphore::const_new(2);

/// Most that a page moves by itself while words and numbers change: a word that becomes longer makes its column wider.
pub(super) const STILL: f64 = 0.02;

/// Adds up how far content moves by itself. What a key or a click moves does not count.
const SHIFTS: &str = "window.shifted = 0; window.shifts = []; new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (!each.hadRecentInput) {
        window.shifted += each.value;
        window.shifts.push(each.value.toFixed(4) + ' ' + each.sources.map((source) => source.node &&
            (source.node.id || source.node.className || source.node.nodeName) + ' ' + source.previousRect.y + '→' + source.currentRect.y));
    }
}).observe({type: 'layout-shift', buffered: true});";

/// Notes which parts have come by the page's stream.
const PARTS: &str =
    "window.came = new Set(); const Plain = EventSource; window.EventSource = class extends Plain {
    constructor(url) {
        super(url);
        this.addEventListener('part', (event) => {
            const part = document.createElement('template');
            part.innerHTML = JSON.parse(event.data);
            window.came.add(part.content.firstElementChild.id);
        });
    }
};";

/// A tab with cookies of its own.
pub(super) struct Page {
    chromium: &'static Chromium,
    context: String,
    session: String,
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    _one_of_few: SemaphorePermit<'static>,
}

impl Page {
    /// An empty one; `None` where there is no browser.
    pub(super) async fn open() -> Option<Self> {
        let chromium = Chromium::of_this_process()?;
        let permit = PAGES.acquire().await.unwrap();
        let of_browser = async |method: &str, parameters: Value, field: &str| {
            let result = chromium.command(None, method, parameters).await.unwrap();
            result[field].as_str().unwrap().to_owned()
        };
        let context = of_browser("Target.createBrowserContext", json!({}), "browserContextId");
        let context = context.await;
        let target = json!({"url": "about:blank", "browserContextId": context});
        let target = of_browser("Target.createTarget", target, "targetId").await;
        let attaching = json!({"targetId": target, "flatten": true});
        let session = of_browser("Target.attachToTarget", attaching, "sessionId").await;
        let page = Self {
            events: Mutex::new(chromium.events(&session)),
            chromium,
            context,
            session,
            _one_of_few: permit,
        };
        for domain in ["Page", "Runtime", "Log"] {
            page.command(&format!("{domain}.enable"), json!({})).await;
        }
        for source in [SHIFTS, PARTS] {
            let script = json!({"source": source});
            page.command("Page.addScriptToEvaluateOnNewDocument", script)
                .await;
        }
        page.looks(1280, false).await;
        Some(page)
    }

    pub(super) async fn command(&self, method: &str, parameters: Value) -> Value {
        let sent = self
            .chromium
            .command(Some(&self.session), method, parameters);
        let result = sent.await;
        result.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// From now on the page is so wide, light or dark.
    pub(super) async fn looks(&self, width: u32, is_dark: bool) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", size)
            .await;
        let theme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// Loads an address.
    pub(super) async fn go(&self, url: &str) {
        let went = self.command("Page.navigate", json!({"url": url})).await;
        assert_eq!(went.get("errorText"), None, "{url}: {went}");
        self.until("the page is loaded", "document.readyState === 'complete'")
            .await;
    }

    /// The value of an expression in the page; an error while it is replaced by another one.
    async fn try_eval(&self, script: &str) -> Result<Value, String> {
        let parameters = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let session = Some(&*self.session);
        let mut result = self
            .chromium
            .command(session, "Runtime.evaluate", parameters)
            .await?;
        match result.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(result["result"]["value"].take()),
        }
    }

    pub(super) async fn eval(&self, script: &str) -> Value {
        let value = self.try_eval(script).await;
        value.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The same, as text.
    pub(super) async fn text_of(&self, script: &str) -> String {
        let value = self.eval(script).await;
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, what: &str, script: &str) {
        let seen = found(PATIENCE, async || {
            let value = self.try_eval(script).await;
            (value == Ok(Value::Bool(true))).then_some(())
        });
        if seen.await.is_none() {
            let shown = self.text_of("document.body.innerText").await;
            panic!("{what} was not so; the page shows:\n{shown}");
        }
    }

    /// Waits until the page shows this.
    pub(super) async fn shows(&self, text: &str) {
        let script = format!("document.body.innerText.includes({})", json!(text));
        self.until(text, &script).await;
    }

    pub(super) async fn shows_no_more(&self, text: &str) {
        let script = format!("!document.body.innerText.includes({})", json!(text));
        self.until(text, &script).await;
    }

    /// Waits until the page is connected and each of its parts has come once more.
    pub(super) async fn is_live(&self) {
        let is_live = "document.getElementById('live')?.dataset.state === 'live'
            && [...document.querySelectorAll('[data-part]')].every((part) => window.came.has(part.id))";
        self.until("it is live", is_live).await;
    }

    /// Waits until the page shows all there is, and ends its stream, as leaving it does.
    pub(super) async fn stands_still(&self) {
        if self.eval("'live' in document.body.dataset").await == true {
            self.is_live().await;
            self.shows_no_more("counting…").await;
            self.eval("window.dispatchEvent(new Event('pagehide'))")
                .await;
        }
    }

    pub(super) async fn click(&self, selector: &str) {
        let clicked = format!("document.querySelector({}).click()", json!(selector));
        self.eval(&clicked).await;
    }

    /// Types into what has the focus.
    pub(super) async fn types(&self, text: &str) {
        self.command("Input.insertText", json!({"text": text}))
            .await;
    }

    /// Presses a key and lets it go: `Tab`, `Shift+Tab`, `Enter`, `Space`.
    pub(super) async fn press(&self, key: &str) {
        let (modifiers, key) = match key.strip_prefix("Shift+") {
            Some(key) => (8, key),
            None => (0, key),
        };
        let (key, code, number, text) = match key {
            "Tab" => ("Tab", "Tab", 9, None),
            "Enter" => ("Enter", "Enter", 13, Some("\r")),
            "Space" => (" ", "Space", 32, Some(" ")),
            other => panic!("{other} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": code, "modifiers": modifiers,
                                   "windowsVirtualKeyCode": number});
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                event["text"] = text.into();
            }
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    /// What the browser has complained about since the last time: errors of scripts, of requests, of the policy.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut events = self.events.lock();
        let mut complaints = Vec::new();
        while let Ok(event) = events.try_recv() {
            let is_one = match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" => true,
                "Runtime.consoleAPICalled" => ["error", "warning", "assert"]
                    .map(Value::from)
                    .contains(&event["params"]["type"]),
                "Log.entryAdded" => ["error", "warning"]
                    .map(Value::from)
                    .contains(&event["params"]["entry"]["level"]),
                _ => false,
            };
            complaints.extend(is_one.then(|| event["params"].to_string()));
        }
        complaints
    }

    /// How far content has moved by itself since it was loaded, as browsers count it, and what moved.
    pub(super) async fn shifted(&self) -> (f64, String) {
        // Two frames: what was shown last is counted.
        let frames =
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
        self.eval(frames).await;
        let moved = self.eval("window.shifted").await.as_f64().unwrap();
        (moved, self.text_of("window.shifts.join('; ')").await)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let context = json!({"browserContextId": self.context});
        drop(
            self.chromium
                .send(None, "Target.disposeBrowserContext", context),
        );
    }
}
