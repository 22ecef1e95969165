//! Limits over all connections: memory for answers, expensive reads, writes that wait.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Limits;
use super::envelope::json_bytes;
use super::refusal::Refusal;
use crate::core::poll::{MAX_BODY, MAX_TEXT};
use crate::memory;

/// Most expensive reads at once: lists, timelines, events, counts. A reader of the database stays free for others.
pub const MAX_SCANS: usize = 2;

/// Most requests that write or wait to write.
pub const MAX_WRITES: usize = 32;

/// How long a request waits for others before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Memory for a page of a list, which has 4 MiB and one row more.
const PAGE: usize = 6 << 20;

/// Memory for a remote job.
const JOB: usize = MAX_TEXT + (64 << 10);

/// Memory for a relayed answer, and for the job and the steps whose challenge it answers.
const RELAY: usize = MAX_BODY + 2 * MAX_TEXT;

/// Memory for all relayed answers, separate from that of others: a code is valid for two minutes only and must not wait for
/// slow readers of lists.
const RELAYS: usize = 32 << 20;

/// Memory for the next events of a stream.
const CHUNK: usize = 512 << 10;

const NO_MEMORY: &str = "Too many answers are being sent; read them faster, and try again.";

const NO_SCAN: &str = "Too many lists are being read; try again.";

const NO_WRITE: &str = "Too many requests wait to write; try again.";

/// Shared by all requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    answers: Memory,
    relays: Memory,
    scans: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Budget {
    /// With the memory of these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            answers: Memory::of(limits.answers),
            relays: Memory::of(RELAYS),
            scans: Arc::new(Semaphore::new(MAX_SCANS)),
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
        }
    }

    /// For a page of a list.
    pub(super) async fn page(&self) -> Result<Reservation, Refusal> {
        let scan = self.scan().await?;
        let mut reserved = self.answers.reserve(PAGE).await?;
        reserved.scan = Some(scan);
        Ok(reserved)
    }

    /// For one job.
    pub(super) async fn job(&self) -> Result<Reservation, Refusal> {
        self.answers.reserve(JOB).await
    }

    /// For the next events of a stream.
    pub(super) async fn chunk(&self) -> Result<Reservation, Refusal> {
        self.answers.reserve(CHUNK).await
    }

    /// For the API's answer to what is relayed.
    pub(super) async fn relay(&self) -> Result<Reservation, Refusal> {
        self.relays.reserve(RELAY).await
    }

    /// The bytes of a page that is ready.
    pub(super) async fn text(&self, text: String) -> Result<Bytes, Refusal> {
        self.answers.bytes(text).await
    }

    /// A permit for an expensive read.
    pub(super) async fn scan(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = timeout(MAX_WAIT, Arc::clone(&self.scans).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok);
        permit.ok_or_else(|| Refusal::busy(NO_SCAN))
    }

    /// A permit to write, or to wait to write.
    pub(super) fn write(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.writes).try_acquire_owned();
        permit.map_err(|_| Refusal::busy(NO_WRITE))
    }
}

/// Memory for some kind of answers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Memory(memory::Memory);

impl Memory {
    /// This many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        Self(memory::Memory::of(bytes))
    }

    /// The bytes of an answer that is ready.
    pub(super) async fn bytes(&self, text: impl Into<Vec<u8>>) -> Result<Bytes, Refusal> {
        self.reserve(0).await?.body(text).await
    }

    /// This many bytes, as soon as they are free.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Reservation, Refusal> {
        let taken = timeout(MAX_WAIT, self.0.reserve(bytes)).await;
        Ok(Reservation {
            taken: taken.map_err(|_| Refusal::busy(NO_MEMORY))?,
            scan: None,
        })
    }
}

/// Memory reserved for an answer, with the permit for its read.
pub(super) struct Reservation {
    taken: memory::Reservation,
    scan: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Records as JSON, which cannot fail.
    pub(super) async fn json_of(self, records: &impl Serialize) -> Result<Response, Refusal> {
        let text = serde_json::to_string(records).unwrap_or_default();
        Ok(json_bytes(self.body(text).await?))
    }

    /// The bytes of an answer, which count until they are sent. Memory that is not needed is freed; if some is missing, the
    /// request waits again.
    pub(super) async fn body(self, text: impl Into<Vec<u8>>) -> Result<Bytes, Refusal> {
        let charged = timeout(MAX_WAIT, self.charged(text)).await;
        charged.map_err(|_| Refusal::busy(NO_MEMORY))
    }

    /// The same, however long it has to wait for memory.
    pub(super) async fn charged(mut self, text: impl Into<Vec<u8>>) -> Bytes {
        let bytes = text.into().into_boxed_slice();
        // Lets the next one read.
        drop(self.scan.take());
        self.taken.resize(bytes.len()).await;
        Bytes::from_owner(Charged {
            bytes,
            _taken: self.taken,
        })
    }
}

/// Bytes that count until they are dropped.
struct Charged {
    bytes: Box<[u8]>,
    _taken: memory::Reservation,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use tokio::time::Instant;

    use super::*;

    fn refused<T>(result: Result<T, Refusal>) -> StatusCode {
        let refusal = result.err().expect("it is refused");
        refusal.into_response().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_lists_are_read_at_once_and_others_wait_for_two_seconds() {
        let budget = Budget::new(&Limits::default());
        let mut pages = Vec::new();
        for _ in 0..MAX_SCANS {
            pages.push(budget.page().await.ok().unwrap());
        }
        let began = Instant::now();
        assert_eq!(
            refused(budget.page().await),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(began.elapsed(), MAX_WAIT);
        assert!(budget.job().await.is_ok(), "one job is not a list");
        let body = pages.pop().unwrap().body("a page").await.ok().unwrap();
        assert!(budget.page().await.is_ok(), "a page that is sent is read");
        assert_eq!(&body[..], b"a page");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_by_its_bytes_until_nobody_has_them() {
        let memory = Memory::of(4 << 20);
        let room = |memory: &Memory| memory.0.free() >> 10;
        let reserved = memory.reserve(JOB).await.ok().unwrap();
        let large = reserved.body(vec![0; 3 << 20]).await.ok().unwrap();
        let small = memory.bytes(vec![0; 1500]).await.ok().unwrap();
        assert_eq!(room(&memory), 1024 - 2);
        drop(small);
        let part = large.slice(1..2);
        drop(large);
        assert_eq!(room(&memory), 1024);
        assert_eq!(
            refused(memory.bytes(vec![0; 2 << 20]).await),
            StatusCode::SERVICE_UNAVAILABLE
        );
        drop(part);
        assert_eq!(room(&memory), 4096);
        let larger_than_all = memory.bytes(vec![0; 9 << 20]).await;
        assert_eq!((larger_than_all.is_ok(), room(&memory)), (true, 0));
    }

    #[test]
    fn few_requests_wait_to_write() {
        let budget = Budget::new(&Limits::default());
        let places: Vec<_> = (0..MAX_WRITES).map(|_| budget.write()).collect();
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(refused(budget.write()), StatusCode::SERVICE_UNAVAILABLE);
        drop(places);
        assert!(budget.write().is_ok());
    }
}
