//! A database that is damaged or taken away under the daemon: it ends, says so, and does not go on as if all were well.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::house::House;
use super::program::Ended;
use crate::support::patience::until;

fn assert_not_trusted(ended: &Ended) {
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let last = ended
        .text
        .lines()
        .rev()
        .find(|line| line.starts_with("error: "));
    assert!(last.is_some(), "{}", ended.text);
    assert!(
        ended
            .text
            .contains("the database cannot be trusted any more"),
        "{}",
        ended.text
    );
}

#[tokio::test]
async fn overwritten_pages_end_the_process() {
    let house = House::new().await;
    let program = house.running().await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("an event", || !house.sink.received().is_empty()).await;
    let outsider = house.outsider().await;
    house.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let mut file = std::fs::File::options()
        .write(true)
        .open(house.database())
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length).unwrap()])
        .unwrap();
    drop(file);
    assert_not_trusted(&program.ended().await);
    drop(outsider);

    // Nor does the next start take it for a new one.
    let ended = house.run().ended().await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.text.contains("cannot open the database"),
        "{}",
        ended.text
    );
}

#[tokio::test]
async fn a_deleted_database_ends_the_process() {
    let house = House::new().await;
    let program = house.running().await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("an event", || !house.sink.received().is_empty()).await;
    std::fs::remove_file(house.database()).unwrap();
    // Whoever notices first says so: who looks at the path, or who opens it again.
    assert_not_trusted(&program.ended().await);
}

#[tokio::test]
async fn a_log_that_is_taken_away_ends_the_process_and_nothing_that_was_committed_is_lost() {
    for ending in ["-wal", "-shm"] {
        let house = House::new().await;
        let program = house.running().await;
        house.follow("1", &[(0, &[("a", "in-progress")])]).await;
        until("an event", || !house.sink.received().is_empty()).await;
        let log = house.path(&format!("jobs.db{ending}"));
        std::fs::remove_file(&log).unwrap();
        let ended = program.ended().await;
        assert_not_trusted(&ended);
        let said = format!("{} was removed while it was in use", log.display());
        assert!(ended.text.contains(&said), "{}", ended.text);
        assert_eq!(house.value("SELECT id FROM jobs").await, "1");
        assert_eq!(house.value("PRAGMA integrity_check").await, "ok");
        assert_eq!(house.value("SELECT count(*) FROM events").await, "1");
    }
}

#[tokio::test]
async fn a_log_that_is_replaced_ends_the_process_and_is_not_mixed_with_the_other_one() {
    for ending in ["-wal", "-shm"] {
        let house = House::new().await;
        let program = house.running().await;
        house.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
        house.follow("1", &[(0, &[("a", "in-progress")])]).await;
        until("an event", || !house.sink.received().is_empty()).await;
        let before = std::fs::read(house.database()).unwrap();
        let log = house.path(&format!("jobs.db{ending}"));
        std::fs::write(house.path("other"), "").unwrap();
        std::fs::rename(house.path("other"), &log).unwrap();
        let ended = program.ended().await;
        assert_not_trusted(&ended);
        let said = format!(
            "{} was replaced by another file while it was in use",
            log.display()
        );
        assert!(ended.text.contains(&said), "{}", ended.text);
        assert!(
            std::fs::read(house.database()).unwrap() == before,
            "{ending}"
        );
        assert_eq!(house.value("PRAGMA integrity_check").await, "ok");
    }
}

#[tokio::test]
async fn a_replaced_database_ends_the_process_and_the_next_start_follows_the_new_one() {
    let house = House::new().await;
    house.migrate().await;
    std::fs::copy(house.database(), house.path("other.db")).unwrap();
    let program = house.running().await;
    std::fs::rename(house.path("other.db"), house.database()).unwrap();
    let ended = program.ended().await;
    assert_not_trusted(&ended);
    assert!(ended.text.contains("is another file now"), "{}", ended.text);
    for log in ["jobs.db-wal", "jobs.db-shm"] {
        // They belong to the file that is gone.
        drop(std::fs::remove_file(house.path(log)));
    }
    house.follow("1", &[(0, &[("a", "success")])]).await;
    let program = house.running().await;
    house.until_ended().await;
    program.stop().await;
}
