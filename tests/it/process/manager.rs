//! What the service manager is sent: a socket of the test stands in for it.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tokio::net::UnixDatagram;
use tokio::sync::watch;

use super::house::{House, get};
use super::program::Program;
use crate::support::waiting::until;

/// Everything the program has sent so far: one text per datagram.
struct Manager {
    messages: watch::Receiver<Vec<String>>,
    socket: std::path::PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, messages) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut datagram = vec![0; 8192];
            while let Ok(length) = socket.recv(&mut datagram).await {
                let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
                sender.send_modify(|messages| messages.push(text));
            }
        });
        Self {
            messages,
            socket: path,
        }
    }

    fn start(&self, command: &mut Command, watchdog: Option<&str>) -> Program {
        command.env("NOTIFY_SOCKET", &self.socket);
        command.envs(watchdog.map(|micros| ("WATCHDOG_USEC", micros)));
        Program::start(command)
    }

    /// The first datagram from number `from` on that contains these words: its number. Waits for it.
    async fn hears(&self, words: &str, from: usize) -> usize {
        let find = || {
            let messages = self.messages.borrow();
            let mut rest = messages.iter().enumerate().skip(from);
            rest.find(|(_, text)| text.contains(words))
                .map(|(at, _)| at)
        };
        until(words, || find().is_some()).await;
        find().unwrap()
    }

    fn all(&self) -> String {
        self.messages.borrow().concat()
    }
}

#[tokio::test]
async fn it_is_ready_once_it_follows_jobs_and_its_status_line_tells_what_it_does() {
    let house = House::new().await;
    let manager = Manager::new(house.folder.path());
    let program = manager.start(&mut house.command("run"), Some("200000"));
    let opening = manager.hears("STATUS=Opening the database\n", 0).await;
    let adopting = manager.hears("STATUS=Taking up the jobs", opening).await;
    let ready = manager.hears("READY=1\n", 0).await;
    assert!(adopting < ready, "{}", manager.all());
    let idle = "STATUS=Following 0 jobs, 0 polls in flight; 0 deliveries pending\n";
    let idle = manager.hears(idle, ready).await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    let busy = manager.hears("STATUS=Following 1 job, ", idle).await;
    let fed = manager.hears("WATCHDOG=1\n", busy).await;
    let fed = manager.hears("WATCHDOG=1\n", fed + 1).await;
    program.signal(Signal::TERM);
    let stopping = manager.hears("STOPPING=1\n", fed).await;
    manager
        .hears("STATUS=Finishing what is in flight\n", stopping)
        .await;
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn when_it_is_ready_the_backlog_is_followed_and_the_status_server_answers() {
    let house = House::new().await;
    house.migrate().await;
    house.follow("61723", &[(0, &[("a", "in-progress")])]).await;
    let manager = Manager::new(house.folder.path());
    let program = manager.start(&mut house.command("run"), None);
    manager.hears("READY=1\n", 0).await;
    let status = program.ready().await;
    for path in ["/healthz", "/readyz"] {
        let (code, body) = get(&status, path).await.unwrap();
        assert_eq!((code, body["status"].as_str()), (200, Some("ok")), "{path}");
    }
    house
        .until("SELECT state FROM jobs WHERE id = '61723'", "in-progress")
        .await;
    let (code, job) = get(&status, "/jobs/61723").await.unwrap();
    assert_eq!(
        (code, job["steps"][0]["status"].as_str()),
        (200, Some("in-progress"))
    );
    program.stop().await;
    assert_eq!(get(&status, "/healthz").await, None);
}

#[tokio::test]
async fn a_reload_begins_and_ends_and_a_refused_one_stays_in_the_status_line() {
    let mut house = House::new().await;
    let manager = Manager::new(house.folder.path());
    let program = manager.start(&mut house.command("run"), Some("200000"));
    let ready = manager.hears("READY=1\n", 0).await;
    program.signal(Signal::HUP);
    let begun = manager.hears("RELOADING=1\nMONOTONIC_USEC=", ready).await;
    let ended = manager.hears("READY=1\n", begun).await;
    assert!(!manager.all().contains("refused"));

    house.set("polling", "intial_delay", "1s");
    program.signal(Signal::HUP);
    let begun = manager.hears("RELOADING=1\n", ended).await;
    let ended = manager.hears("READY=1\n", begun).await;
    let refused = "STATUS=The last reload was refused, the old settings stay: ";
    let refused = manager.hears(refused, ended).await;
    let line = manager.messages.borrow()[refused].clone();
    assert!(
        line.contains("polling.intial_delay") && line.contains(" | Following 0 jobs"),
        "{line}"
    );

    house.unset("polling", "intial_delay");
    program.signal(Signal::HUP);
    let begun = manager.hears("RELOADING=1\n", refused).await;
    manager.hears("STATUS=Following 0 jobs", begun).await;
    program.stop().await;
}

#[tokio::test]
async fn a_start_that_waits_for_the_database_says_so_and_gets_more_time() {
    let house = House::new().await;
    let mut writer = house.outsider_of_new().await;
    sqlx::raw_sql("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let manager = Manager::new(house.folder.path());
    let program = manager.start(&mut house.command("run"), None);
    manager.hears("EXTEND_TIMEOUT_USEC=30000000\n", 0).await;
    manager.hears("STATUS=Waiting for the database: ", 0).await;
    assert!(!manager.all().contains("READY=1"));
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    manager.hears("READY=1\n", 0).await;
    program.stop().await;
    assert!(
        !manager.all().contains("WATCHDOG"),
        "nobody watches: {}",
        manager.all()
    );
}

#[tokio::test]
async fn a_manager_that_takes_no_messages_stops_nothing_and_is_sent_what_is_true_when_it_takes_some()
 {
    let house = House::new().await;
    house.migrate().await;
    let path = house.folder.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let full = std::os::unix::net::UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"X=1\n", &path).is_ok() {}
    let mut command = house.command("run");
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "200000");
    let program = Program::start(&mut command);
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house
        .until("SELECT state FROM jobs WHERE id = '1'", "success")
        .await;
    let (mut heard, mut datagram) = (String::new(), [0; 8192]);
    while !heard.contains("WATCHDOG=1\n") || !heard.contains("STATUS=Following 0 jobs") {
        let length = socket.recv(&mut datagram).await.unwrap();
        heard += std::str::from_utf8(&datagram[..length]).unwrap();
    }
    assert!(heard.contains("READY=1\n"), "{heard}");
    assert!(!heard.contains("STATUS=Opening"), "{heard}");
    program.stop().await;
}
