//! Starting: who is told, and when.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::house::{House, get};
use super::program::Program;
use crate::support::patience::{PATIENCE, found};

/// Where a service manager listens.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn listen(house: &House) -> Self {
        let socket = UnixDatagram::bind(house.path("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket }
    }

    /// What it was told since the last time.
    fn told(&self) -> Option<String> {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    async fn next(&self) -> String {
        let told = found(PATIENCE, async || self.told()).await;
        told.expect("the manager is told something")
    }
}

#[tokio::test]
async fn the_service_manager_is_told_when_the_backlog_is_taken_up_and_when_the_end_begins() {
    let house = House::new().await;
    let manager = Manager::listen(&house);
    house.migrate().await;
    house.follow("61723", &[(0, &[("a", "in-progress")])]).await;
    let mut command = house.command("run");
    let program = Program::start(command.env("NOTIFY_SOCKET", house.path("notify")));

    assert!(manager.next().await.contains("READY=1"));
    let status = program.ready().await;
    let (code, health) = get(&status, "/healthz").await.unwrap();
    assert_eq!((code, health["status"].as_str()), (200, Some("ok")));
    let (code, ready) = get(&status, "/readyz").await.unwrap();
    assert_eq!((code, ready["status"].as_str()), (200, Some("ok")));
    house
        .until("SELECT state FROM jobs WHERE id = '61723'", "in-progress")
        .await;
    let (code, job) = get(&status, "/jobs/61723").await.unwrap();
    assert_eq!(
        (code, job["steps"][0]["status"].as_str()),
        (200, Some("in-progress"))
    );

    program.stop().await;
    assert_eq!(manager.next().await, "STOPPING=1\n");
    assert_eq!(manager.told(), None);
    assert_eq!(get(&status, "/healthz").await, None);
}

#[tokio::test]
async fn nobody_is_told_that_it_is_ready_before_the_backlog_can_be_read() {
    let house = House::new().await;
    let manager = Manager::listen(&house);
    house.migrate().await;
    let mut writer = house.outsider().await;
    sqlx::raw_sql("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .execute(&mut writer)
        .await
        .unwrap();
    let mut command = house.command("run");
    let program = Program::start(command.env("NOTIFY_SOCKET", house.path("notify")));

    let patience = Duration::from_secs(30);
    program
        .says_within(patience, "the database cannot be opened yet", 1)
        .await;
    assert_eq!(manager.told(), None);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    assert!(manager.next().await.contains("READY=1"));
    program.ready().await;
    program.stop().await;
}
