//! What operators do to webhooks and deliveries, whoever carries it out: a command, or the dashboard. Both refuse the same in
//! the same words.

pub(crate) mod replays;
pub(crate) mod test;
pub(crate) mod webhooks;

use crate::store::{Page, StoreError};

/// Does a longer piece of work page by page, each in one transaction; returns what all pages did.
///
/// # Errors
/// When a page cannot be done; those before it are.
pub(crate) async fn every<F>(mut page: impl FnMut() -> F) -> Result<Page, StoreError>
where
    F: Future<Output = Result<Page, StoreError>>,
{
    let mut all = Page::default();
    while !all.is_last {
        let page = page().await?;
        all.deliveries += page.deliveries;
        all.jobs += page.jobs;
        all.is_last = page.is_last;
    }
    Ok(all)
}
