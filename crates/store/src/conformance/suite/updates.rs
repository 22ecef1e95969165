//! What may become of a row by UPDATE, and what may not.

use super::super::fixtures::t;
use super::super::{Backend, Bench};
use crate::{Intake as _, JobUpdate};

pub(super) async fn requests_and_times_are_changes_and_nothing_else_is<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    let mut seen = bench.store().newest_change().await.unwrap();
    for update in [
        JobUpdate::Cancel,
        JobUpdate::Poll,
        JobUpdate::Poll,
        JobUpdate::Priority(5),
        JobUpdate::NotBefore(Some(t(7))),
        JobUpdate::NotBefore(None),
        JobUpdate::Deadline(Some(t(9))),
        JobUpdate::Deadline(None),
        JobUpdate::Url(Some("/a".to_owned())),
        JobUpdate::Webhook(Some("billing".to_owned())),
    ] {
        assert!(bench.update("2", update.clone()).await.unwrap());
        let changes = bench.store().changes(seen, 10).await.unwrap();
        let ids: Vec<_> = changes
            .iter()
            .map(|change| change.job.as_ref().unwrap().id.as_str())
            .collect();
        assert_eq!(ids, ["2"], "{update:?}");
        seen = bench.store().newest_change().await.unwrap();
    }
    for update in [
        JobUpdate::Priority(5),
        JobUpdate::NotBefore(None),
        JobUpdate::Url(Some("/a".to_owned())),
        JobUpdate::CreatedAt(t(1)),
    ] {
        assert!(bench.update("2", update.clone()).await.unwrap());
        let newest = bench.store().newest_change().await.unwrap();
        assert_eq!(newest, seen, "{update:?}");
    }
}
