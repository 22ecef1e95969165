//! The server on a unix socket.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use jobtrackd::status::{Listen, Listener};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::raw::{Answer, exchange};
use crate::support::world::World;

/// A folder, and the path of a socket in it.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("status.sock");
    (folder, path)
}

async fn ask(world: &World, path: &Path, request: &str) -> Answer {
    let mut stream = UnixStream::connect(path).await.unwrap();
    exchange(world, &mut stream, request).await
}

async fn refusal(path: &Path) -> String {
    let listen = Listen::Unix(path.to_owned());
    Listener::bind(&listen).await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_unix_socket_is_its_groups_answers_by_any_name_and_goes_with_the_daemon() {
    let (_folder, path) = place();
    let mut world = World::new().await;
    let listen = format!("unix:{}", path.display());
    world.status = format!("listen = \"{listen}\"");
    world.start().await;
    let address = world.daemon().status_address().unwrap();
    assert_eq!(address.to_string(), listen);
    let about = fs::symlink_metadata(&path).unwrap();
    assert_eq!(about.permissions().mode() & 0o7777, 0o660);
    assert_eq!(about.gid(), rustix::process::getegid().as_raw());
    for (host, status) in [
        ("Host: anything.example", 200),
        ("Host: 10.0.0.1:99", 200),
        ("Host: here\r\nOrigin: http://evil.example", 403),
        ("Accept: */*", 400),
    ] {
        let request = format!("GET /readyz HTTP/1.1\r\n{host}\r\n\r\n");
        let answer = ask(&world, &path, &request).await;
        assert_eq!(answer.status, status, "{host}");
    }
    world.stop().await;
    assert!(!path.exists());
    world.start().await;
    assert!(path.exists());
}

#[tokio::test]
async fn a_socket_on_which_nobody_answers_is_replaced() {
    let (_folder, path) = place();
    drop(StdListener::bind(&path).unwrap());
    let old = fs::symlink_metadata(&path).unwrap();
    let listen = Listen::Unix(path.clone());
    let listener = Listener::bind(&listen).await.unwrap();
    assert_eq!(listener.address(), &listen);
    let new = fs::symlink_metadata(&path).unwrap();
    assert_ne!((old.ino(), old.mode()), (new.ino(), new.mode()));
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_socket_on_which_somebody_answers_and_a_file_that_is_none_are_left_alone() {
    let (folder, path) = place();
    let _other = StdListener::bind(&path).unwrap();
    let text = refusal(&path).await;
    assert!(
        text.contains("a running program answers on this socket"),
        "{text}"
    );
    UnixStream::connect(&path).await.unwrap();

    let file = folder.path().join("notes");
    fs::write(&file, "mine").unwrap();
    let text = refusal(&file).await;
    assert!(text.contains("is not a socket"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(refusal(&link).await.contains("is not a socket"));
    assert!(link.exists());
}

#[tokio::test]
async fn only_one_of_two_starts_takes_a_socket_and_the_file_of_another_is_not_removed() {
    let (folder, path) = place();
    let listen = Listen::Unix(path.clone());
    let lock = fs::File::open(folder.path()).unwrap();
    lock.lock().unwrap();
    let text = refusal(&path).await;
    assert!(text.contains("in this folder; start again"), "{text}");
    drop(lock);

    let first = Listener::bind(&listen).await.unwrap();
    let text = refusal(&path).await;
    assert!(text.contains("a running program answers"), "{text}");
    fs::remove_file(&path).unwrap();
    let _second = Listener::bind(&listen).await.unwrap();
    drop(first);
    UnixStream::connect(&path).await.unwrap();
}
