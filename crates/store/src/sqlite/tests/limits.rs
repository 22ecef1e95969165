//! A writer that meets a lock or the end of the disk.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::store::integer;
use super::*;
use crate::Jobs as _;
use crate::NewJob;

impl Store {
    /// The same file with a writer of other settings.
    fn with(&self, set: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions) -> Self {
        let file = self.shared.files.database();
        let shared = Shared {
            options: set(self.shared.options.clone()),
            files: Arc::new(Files::of(file, file).unwrap()),
            readers: self.shared.readers.clone(),
            writer: Mutex::new(None),
            turn: Arc::default(),
            patience: None,
            clock: self.shared.clock.clone(),
            shortage: parking_lot::Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn outsider(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&self.shared.options)
            .await
            .unwrap()
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn job(id: &str, metadata: Option<String>) -> NewJob {
    NewJob {
        id: id.to_owned(),
        metadata,
        ..NewJob::default()
    }
}

#[tokio::test]
async fn a_foreign_lock_makes_a_write_busy_and_the_same_write_succeeds_when_it_is_gone() {
    let (_folder, store) = fresh().await;
    let store = store.with(|options| options.busy_timeout(Duration::from_millis(1)));
    let mut outsider = store.outsider().await;
    store.enqueue(&job("before", None)).await.unwrap();
    run(&mut outsider, "BEGIN IMMEDIATE").await;
    for _ in 0..3 {
        let error = store.enqueue(&job("1", None)).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Busy) && error.is_temporary(),
            "{error:?}"
        );
        let id = jobtrackd_core::job::JobId::parse("before").unwrap();
        assert!(
            store.tracked(&id).await.unwrap().is_some(),
            "reading goes on"
        );
    }
    run(&mut outsider, "ROLLBACK").await;
    assert!(store.enqueue(&job("1", None)).await.unwrap());
    assert!(!store.enqueue(&job("1", None)).await.unwrap());
}

#[tokio::test]
async fn a_write_waits_for_a_foreign_lock_that_is_soon_released() {
    let (_folder, store) = fresh().await;
    let mut outsider = store.outsider().await;
    run(&mut outsider, "BEGIN IMMEDIATE").await;
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.enqueue(&job("1", None)).await }
    });
    while store.shared.writer.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!writing.is_finished());
    run(&mut outsider, "COMMIT").await;
    assert!(writing.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_full_disk_is_temporary_and_the_next_write_succeeds_when_there_is_space() {
    let (_folder, store) = fresh().await;
    let mut outsider = store.outsider().await;
    run(
        &mut outsider,
        "CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(400000))",
    )
    .await;
    let pages = integer(&mut outsider, "PRAGMA page_count").await.unwrap();
    let limited = store.with(|options| options.pragma("max_page_count", (pages + 2).to_string()));
    let large = |n: u32| {
        job(
            &n.to_string(),
            Some(format!("{{\"a\":\"{}\"}}", "x".repeat(16000))),
        )
    };
    let mut kept = 0;
    let error = loop {
        match limited.enqueue(&large(kept)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::Full) && error.is_temporary(),
        "{error:?}"
    );
    assert!(matches!(
        limited.enqueue(&large(kept)).await,
        Err(StoreError::Full)
    ));
    run(&mut outsider, "DROP TABLE filler").await;
    assert!(limited.enqueue(&large(kept)).await.unwrap());
    assert_eq!(
        integer(&mut outsider, "SELECT count(*) FROM jobs")
            .await
            .unwrap(),
        i64::from(kept) + 1
    );
    assert_eq!(
        integer(
            &mut outsider,
            "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"
        )
        .await
        .unwrap(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn requests_wait_3_s_for_a_foreign_lock_however_many_there_are_and_the_loops_for_none_of_them()
 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let clock = Clock::driven(jobtrackd_core::time::UnixMillis(0));
    let store = Store::create_or_migrate(&file, clock.clone());
    let store = store.await.unwrap();
    let loops = store.with(|options| options.busy_timeout(Duration::from_millis(1)));
    let requests = loops.for_requests().await.unwrap();
    let mut outsider = loops.outsider().await;
    run(&mut outsider, "BEGIN IMMEDIATE").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        let asked = Instant::now();
        let posts: Vec<_> = (0..50)
            .map(|n: u32| {
                let requests = requests.clone();
                tokio::spawn(async move {
                    let posted = requests.enqueue(&job(&n.to_string(), None)).await;
                    (posted, asked.elapsed())
                })
            })
            .collect();
        while !posts.iter().all(|post| post.is_finished()) {
            let written = Instant::now();
            let busy = loops.enqueue(&job("of the loops", None)).await;
            assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
            assert!(written.elapsed() < Duration::from_millis(100));
            sleep(Duration::from_millis(500)).await;
        }
        for post in posts {
            let (posted, waited) = post.await.unwrap();
            assert!(matches!(posted, Err(StoreError::Busy)), "{posted:?}");
            assert!(waited <= Duration::from_secs(3), "{waited:?}");
        }
    }
    run(&mut outsider, "ROLLBACK").await;
    assert!(requests.enqueue(&job("1", None)).await.unwrap());
    assert!(loops.enqueue(&job("2", None)).await.unwrap());
    requests.close().await;
    assert!(loops.enqueue(&job("3", None)).await.unwrap());
}

#[tokio::test]
async fn writers_of_one_process_take_turns_however_much_requests_write() {
    let (_folder, store) = fresh().await;
    let loops = store.with(|options| options.busy_timeout(Duration::ZERO));
    let requests = loops.for_requests().await.unwrap();
    let posting: Vec<_> = (0..4)
        .map(|client: u32| {
            let requests = requests.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let id = format!("{client}-{n}");
                    requests.enqueue(&job(&id, None)).await.unwrap();
                }
            })
        })
        .collect();
    for n in 0..100 {
        let written = loops.enqueue(&job(&format!("loops-{n}"), None)).await;
        assert!(matches!(written, Ok(true)), "{n}: {written:?}");
    }
    posting.iter().for_each(|client| client.abort());
}
