//! A database that is damaged or taken away under the daemon: it ends, says so, and does not go on as if all were well.

use std::io::{Seek as _, SeekFrom, Write as _};

use rustix::process::Signal;

use super::house::House;
use super::program::{Ended, Program};
use crate::support::waiting::until;

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

/// A daemon that has followed a job and delivered one event, all of it only in the log.
async fn with_rows_in_the_log(house: &House) -> Program {
    let program = house.running().await;
    house.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("an event", || !house.sink.received().is_empty()).await;
    program
}

async fn assert_whole(house: &House, ids: &str) {
    let found = house
        .value("SELECT group_concat(id ORDER BY id) FROM jobs")
        .await;
    assert_eq!(found, ids);
    assert_eq!(house.value("PRAGMA integrity_check").await, "ok");
    assert_eq!(house.value("SELECT count(*) FROM events").await, "1");
}

#[tokio::test]
async fn a_log_that_is_removed_ends_the_process_and_nothing_that_was_committed_is_lost() {
    let moved = "have been moved into the database; none is lost";
    for (endings, fate) in [
        (["-wal"].as_slice(), moved),
        (&["-shm"], "no committed row is lost: the log itself"),
        (&["-wal", "-shm"], moved),
    ] {
        let house = House::new().await;
        let program = with_rows_in_the_log(&house).await;
        // Another process, which has the log open.
        let mut other = house.outsider().await;
        let read = sqlx::query("SELECT * FROM jobs")
            .fetch_all(&mut other)
            .await;
        assert_eq!(read.unwrap().len(), 1);
        program.signal(Signal::STOP);
        for ending in endings {
            std::fs::remove_file(house.path(&format!("jobs.db{ending}"))).unwrap();
        }
        program.signal(Signal::CONT);
        let ended = program.ended().await;
        assert_not_trusted(&ended);
        let first = house.path(&format!("jobs.db{}", endings[0]));
        let said = format!("{} was removed while it was in use", first.display());
        assert!(ended.text.contains(&said), "{}", ended.text);
        assert!(ended.text.contains(fate), "{}", ended.text);
        assert_whole(&house, "1").await;
        drop(other);
        assert_whole(&house, "1").await;
        house.running().await.stop().await;
        assert_whole(&house, "1").await;
    }
}

#[tokio::test]
async fn who_opens_the_database_after_its_log_was_removed_costs_no_committed_row() {
    let house = House::new().await;
    let program = with_rows_in_the_log(&house).await;
    program.signal(Signal::STOP);
    std::fs::remove_file(house.path("jobs.db-wal")).unwrap();
    // It makes a log of its own, in which it does not find what the index names.
    let mut other = house.outsider().await;
    let read = sqlx::query("SELECT * FROM jobs")
        .fetch_all(&mut other)
        .await;
    read.unwrap_err();
    assert!(house.path("jobs.db-wal").exists());
    program.signal(Signal::CONT);
    let ended = program.ended().await;
    assert_not_trusted(&ended);
    let fate = "have been moved into the database; none is lost";
    assert!(ended.text.contains(fate), "{}", ended.text);
    sqlx::query("INSERT INTO jobs (id) VALUES ('2')")
        .execute(&mut other)
        .await
        .unwrap();
    drop(other);
    assert_whole(&house, "1,2").await;
}

#[tokio::test]
async fn a_log_that_is_replaced_ends_the_process_and_is_not_mixed_with_the_other_one() {
    for (endings, fate) in [
        (["-wal"].as_slice(), "may be lost"),
        (&["-shm"], "no committed row is lost: the log itself"),
        (&["-wal", "-shm"], "may be lost"),
    ] {
        let house = House::new().await;
        let program = with_rows_in_the_log(&house).await;
        program.signal(Signal::STOP);
        let before = std::fs::read(house.database()).unwrap();
        for ending in endings {
            // An empty log beside the old index is not yet another one.
            let content = if endings.len() > 1 { "" } else { "other" };
            std::fs::write(house.path("other"), content).unwrap();
            let log = house.path(&format!("jobs.db{ending}"));
            std::fs::rename(house.path("other"), &log).unwrap();
        }
        program.signal(Signal::CONT);
        let ended = program.ended().await;
        assert_not_trusted(&ended);
        let said = format!(
            "{} was replaced by another file while it was in use",
            house.path(&format!("jobs.db{}", endings[0])).display()
        );
        assert!(ended.text.contains(&said), "{}", ended.text);
        assert!(ended.text.contains(fate), "{}", ended.text);
        assert!(
            std::fs::read(house.database()).unwrap() == before,
            "{endings:?}"
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
