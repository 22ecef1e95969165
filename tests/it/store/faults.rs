//! A disk without space.

use std::fs;

use jobtrackd::clock::Clock;
use jobtrackd::store::{Intake as _, Jobs as _, NewJob, Store, StoreError};

use super::apart;

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_writing_goes_on_when_there_is_space() {
    const NAME: &str =
        "store::faults::on_a_full_disk_nothing_is_lost_and_writing_goes_on_when_there_is_space";
    let Some(folder) = apart::folder() else {
        let script = "mount -t tmpfs -o size=2m tmpfs $JOBTRACKD_TEST_FOLDER; exec \"$@\"";
        return apart::again(NAME, apart::own_mounts(), script);
    };
    let file = folder.join("jobs.db");
    let store = Store::create_or_migrate(&file, Clock::system())
        .await
        .unwrap();
    let filler = folder.join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap();
    let job = |n: usize| NewJob {
        id: n.to_string(),
        metadata: Some(format!("{{\"a\":\"{}\"}}", "x".repeat(16000))),
        ..NewJob::default()
    };
    let mut kept = 0;
    let error = loop {
        match store.enqueue(&job(kept)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full), "{error:?}");
    let again = store.enqueue(&job(kept)).await;
    assert!(matches!(again, Err(StoreError::Full)), "{again:?}");
    fs::remove_file(filler).unwrap();
    assert!(store.enqueue(&job(kept)).await.unwrap());
    assert_eq!(store.active_jobs(0, 1000).await.unwrap().len(), kept + 1);
    store.close().await;
    let store = Store::open(&file, Clock::system()).await.unwrap();
    assert_eq!(store.active_jobs(0, 1000).await.unwrap().len(), kept + 1);
}
