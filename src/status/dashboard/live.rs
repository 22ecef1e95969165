//! Pages that move: each page that is watched is written once a second at most, however many watch it, and only the parts
//! that have changed are sent, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::marks::View;
use super::page::Part;
use super::place::Place;
use crate::status::Parts;
use crate::status::access::Operator;
use crate::status::budget::{Memory, Reservation};
use crate::status::long_poll::Woken;
use crate::status::query::Parameters;
use crate::status::refusal::Refusal;

/// Most pages that are watched at once.
const VIEWERS: usize = 100;

/// Memory for the parts of all watched pages, and for those that are being sent: pages nobody reads must not take that of
/// others.
const MEMORY: usize = 32 << 20;

/// Shortest time between two writings of a page.
const PACE: Duration = Duration::from_secs(1);

/// And at least so many times as long as it takes.
const PACE_FACTOR: u32 = 20;

/// Longest time between them: what follows from time alone, and what other programs change.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// When a browser that lost the connection should connect again, in milliseconds.
const RETRY_MS: u32 = 2000;

/// A stream ends after this time, and the browser's next request renews its session.
const LASTS: Duration = Duration::from_secs(3600);

/// A page as it is shown to operators or to readers.
type Key = (Place, bool);

/// A page as it was written last.
#[derive(Default, Clone)]
struct Written {
    parts: Arc<Content>,
    /// Why it is not written anew.
    wrong: Option<String>,
}

#[derive(Default)]
struct Content {
    parts: Vec<Part>,
    _taken: Option<Reservation>,
}

/// The pages that are watched.
#[derive(Debug)]
pub(super) struct Live {
    viewers: Arc<Semaphore>,
    memory: Memory,
    pages: Mutex<HashMap<Key, Weak<watch::Receiver<Written>>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            memory: Memory::of(MEMORY),
            pages: Mutex::default(),
        }
    }
}

impl Live {
    /// The page as it is written from now on, by one task for all who watch it.
    fn watch(
        &self,
        place: Place,
        operator: Operator,
        parts: &Parts,
    ) -> Arc<watch::Receiver<Written>> {
        let key = (place.clone(), operator.may_act);
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(&key).and_then(Weak::upgrade) {
            return page;
        }
        pages.retain(|_, page| page.strong_count() > 0);
        let (written, page) = watch::channel(Written::default());
        let page = Arc::new(page);
        pages.insert(key, Arc::downgrade(&page));
        tokio::spawn(write(place, operator, parts.clone(), written));
        page
    }
}

/// Writes a page again and again, until nobody watches it or the daemon stops.
async fn write(place: Place, operator: Operator, parts: Parts, written: watch::Sender<Written>) {
    let mut commits = match &place {
        Place::Job(id) => parts.waiting.commits.subscribe_job(id),
        _ => parts.waiting.commits.subscribe(),
    };
    loop {
        let view = View {
            now: parts.clock.now(),
            operator: operator.clone(),
        };
        let began = Instant::now();
        match content(&place, &parts, &view).await {
            Ok(content) => {
                written.send_replace(Written {
                    parts: Arc::new(content),
                    wrong: None,
                });
            }
            // What cannot be read or kept now stays as it was.
            Err(refusal) => written.send_modify(|last| {
                last.wrong = Some(refusal.detail().to_owned());
            }),
        }
        // A page that takes long is written more rarely.
        let earliest = began + PACE.max(began.elapsed() * PACE_FACTOR);
        tokio::select! {
            () = written.closed() => return,
            () = tokio::time::sleep_until(earliest) => {}
        }
        let latest = began + PAUSE.max(earliest - began);
        tokio::select! {
            () = written.closed() => return,
            woken = parts.waiting.until(latest, &mut commits) => {
                if woken == Woken::End && parts.waiting.is_over() {
                    return;
                }
            }
        }
    }
}

async fn content(place: &Place, parts: &Parts, view: &View) -> Result<Content, Refusal> {
    let page = place.page(parts, view).await?;
    let bytes = page.parts.iter().map(|part| part.html.len()).sum();
    let taken = parts.dashboard.0.live.memory.reserve(bytes).await?;
    Ok(Content {
        parts: page.parts,
        _taken: Some(taken),
    })
}

/// Which page is watched: its address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watched {
    page: String,
}

/// The parts of a page, each as it changes.
pub(super) async fn live(
    State(parts): State<Parts>,
    Extension(operator): Extension<Operator>,
    Parameters(Watched { page }): Parameters<Watched>,
) -> Result<Response, Refusal> {
    let (path, query) = page.split_once('?').unwrap_or((&page, ""));
    let place = Place::of(path, query)?;
    let kept = &parts.dashboard.0.live;
    let permit = Arc::clone(&kept.viewers).try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::busy("Too many pages are watched already."))?;
    let stream = Stream {
        page: kept.watch(place, operator, &parts),
        memory: kept.memory.clone(),
        sent: HashMap::new(),
        hasher: RandomState::new(),
        wrong: None,
        begun: false,
        until: Instant::now() + LASTS,
        _permit: permit,
    };
    let chunks = unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    let head = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((StatusCode::OK, head, Body::from_stream(chunks)).into_response())
}

struct Stream {
    page: Arc<watch::Receiver<Written>>,
    memory: Memory,
    /// The hash of each part that the browser has, without what its script writes itself.
    sent: HashMap<&'static str, u64>,
    hasher: RandomState,
    /// Why the page is not current, as the browser knows it.
    wrong: Option<String>,
    begun: bool,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        // A receiver of its own, so that the shared one is never marked as seen.
        let mut page = watch::Receiver::clone(&self.page);
        if !std::mem::replace(&mut self.begun, true) {
            return Some(format!("retry: {RETRY_MS}\n\n").into());
        }
        let silent_until = Instant::now() + HEARTBEAT;
        if self.until <= Instant::now() {
            return None;
        }
        if silent_until > self.until {
            self.until = Instant::now();
            return Some(Bytes::from_static(b"event: again\ndata: 0\n\n"));
        }
        loop {
            let written = page.borrow_and_update().clone();
            let changed = self.changed(&written);
            if !changed.is_empty() {
                // Without memory the stream ends, and the browser asks again.
                return self.memory.bytes(changed).await.ok();
            }
            match timeout_at(silent_until, page.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(b": nothing new\n\n")),
            }
        }
    }

    fn changed(&mut self, written: &Written) -> String {
        let mut events = String::new();
        if self.wrong != written.wrong {
            self.wrong.clone_from(&written.wrong);
            // Texts can always be written.
            let data = serde_json::to_string(&self.wrong).unwrap_or_default();
            events.push_str(&format!("event: state\ndata: {data}\n\n"));
        }
        for part in &written.parts.parts {
            let lasting = self.hasher.hash_one(without_relative(&part.html));
            if self.sent.insert(part.id, lasting) != Some(lasting) {
                let data = serde_json::to_string(&part.html).unwrap_or_default();
                events.push_str(&format!("event: part\nid: {}\ndata: {data}\n\n", part.id));
            }
        }
        events
    }
}

/// The text without the words of relative times, which the script writes from the moments beside them.
fn without_relative(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find("<time ") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find("</time>").unwrap_or(from.len());
        let (time, after) = from.split_at(end);
        let tag = time.find('>').map_or(time, |close| &time[..=close]);
        let is_relative = tag.contains(" data-relative") || tag.contains(" data-lasting");
        out.push_str(if is_relative { tag } else { time });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_relative_times_are_no_change() {
        let text = |ago: &str| {
            format!(
                "a<time datetime=\"x\" data-relative>{ago}</time>b<time datetime=\"y\">15:04</time>"
            )
        };
        assert_eq!(
            without_relative(&text("1s ago")),
            without_relative(&text("2s ago"))
        );
        assert!(without_relative(&text("1s ago")).contains("15:04"));
        assert_ne!(
            without_relative(&text("")),
            without_relative(&text("").replace("15:04", "15:05"))
        );
    }
}
