//! Reads the large parts of a job's history page by page.

use crate::core::job::JobId;
use crate::store::{
    EventFilter, Events as _, PAGE_BYTES, RecordedEvent, Store, StoreError, TimelineEntry,
    Timelines as _,
};

/// Entries that are read at once.
const PAGE: u32 = 500;

/// Calls `each` with each entry of a job's timeline, in order.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn timeline(
    store: &Store,
    id: &JobId,
    mut each: impl FnMut(TimelineEntry),
) -> Result<(), StoreError> {
    let mut after = None;
    while let Some(page) = store.timeline(id, after.as_ref(), PAGE).await? {
        after = page.entries.last().map(|entry| entry.key.clone());
        page.entries.into_iter().for_each(&mut each);
        if !page.more {
            break;
        }
    }
    Ok(())
}

/// Calls `each` with each event of a job and its body, in order.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn events(
    store: &Store,
    id: &JobId,
    mut each: impl FnMut(RecordedEvent),
) -> Result<(), StoreError> {
    let mut filter = EventFilter {
        job: Some(id.clone()),
        limit: PAGE,
        bytes: PAGE_BYTES,
        ..EventFilter::default()
    };
    loop {
        let page = store.events(&filter).await?;
        filter.after = page.reached;
        page.events.into_iter().for_each(&mut each);
        if page.complete {
            return Ok(());
        }
    }
}
