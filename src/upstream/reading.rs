//! The body of an answer, read within its limit and decompressed.

use std::error::Error;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::answers::SMALL;
use crate::core::poll::{Trouble, TroubleClass};
use crate::core::text::{DecompressError, GZIP, decompressed};
use crate::sockets::{cause, is_timeout};

/// Most memory allocated for a body because of its `Content-Length`, in bytes.
const FIRST_ALLOCATION: usize = 64 << 10;

/// A body that is read piece by piece, so that one without an end or with a wrong length stops at its limit.
pub(super) struct Reading {
    incoming: Incoming,
    limit: usize,
    announced: Option<usize>,
    body: Vec<u8>,
    /// The piece after `body`, which no longer fitted into `enough` bytes; `None`: the body is complete.
    pub(super) piece: Option<Bytes>,
}

impl Reading {
    /// Reads up to `enough` bytes, and the first piece beyond.
    pub(super) async fn begin(
        incoming: Incoming,
        limit: usize,
        enough: usize,
    ) -> Result<Self, Trouble> {
        let announced = incoming.size_hint().exact();
        let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced > Some(limit) {
            return Err(too_large(limit));
        }
        let first = announced.unwrap_or(0).min(enough).min(FIRST_ALLOCATION);
        let mut reading = Self {
            incoming,
            limit,
            announced,
            body: Vec::with_capacity(first),
            piece: None,
        };
        reading.piece = reading.read(enough).await?;
        Ok(reading)
    }

    /// Reads the rest after `piece`.
    pub(super) async fn read_rest(&mut self, piece: Bytes) -> Result<(), Trouble> {
        let whole = self.announced.unwrap_or(self.limit);
        self.body
            .reserve_exact(whole.saturating_sub(self.body.len()));
        self.body.extend_from_slice(&piece);
        drop(piece);
        self.read(usize::MAX).await.map(drop)
    }

    /// Reads up to `enough` bytes; returns the first piece beyond.
    async fn read(&mut self, enough: usize) -> Result<Option<Bytes>, Trouble> {
        while let Some(frame) = self.incoming.frame().await {
            // Trailers say nothing that is read.
            let Ok(piece) = frame.map_err(|error| trouble_of(&error))?.into_data() else {
                continue;
            };
            let length = self.body.len() + piece.len();
            if length > self.limit {
                return Err(too_large(self.limit));
            }
            if length > enough {
                return Ok(Some(piece));
            }
            self.body.extend_from_slice(&piece);
        }
        Ok(None)
    }

    /// The memory it takes to read the rest and to decompress all; 0 when it is small both ways.
    pub(super) fn needs(&self) -> usize {
        let begins = self.body.iter().chain(self.piece.iter().flatten());
        let is_packed = begins.take(GZIP.len()).eq(GZIP);
        let rest = self
            .piece
            .as_ref()
            .map_or(0, |_| self.announced.unwrap_or(self.limit));
        let fits =
            |body: &[u8]| decompressed(body.to_vec(), SMALL) != Err(DecompressError::TooLarge);
        if is_packed && (rest > 0 || !fits(&self.body)) {
            // The decompressed body grows by doubling.
            return rest + 2 * self.limit;
        }
        rest
    }

    /// The whole body, decompressed if it was compressed.
    pub(super) fn decompressed(self) -> Result<Vec<u8>, Trouble> {
        let decompressed = decompressed(self.body, self.limit);
        let mut body = decompressed.map_err(|error| Trouble {
            class: match error {
                DecompressError::TooLarge => TroubleClass::TooLarge,
                DecompressError::Broken => TroubleClass::Unusable,
            },
            detail: error.to_string(),
        })?;
        body.shrink_to_fit();
        Ok(body)
    }
}

pub(super) fn trouble_of(error: &(dyn Error + 'static)) -> Trouble {
    Trouble {
        class: match is_timeout(error) {
            true => TroubleClass::Timeout,
            false => TroubleClass::Broken,
        },
        detail: cause(error),
    }
}

fn too_large(limit: usize) -> Trouble {
    Trouble {
        class: TroubleClass::TooLarge,
        detail: format!("a body above {} KiB", limit >> 10),
    }
}
