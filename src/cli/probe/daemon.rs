//! The daemon: whether it runs, how it says it is, and whether it may open enough files.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Finding, as_root, tool};
use crate::cli::text::outside;
use crate::config::Settings;
use crate::status::{Limits, Listen, StatusSettings};
use crate::store::{Holder, InstanceLock};

/// Longest wait for the status server.
const LIMIT: Duration = Duration::from_secs(5);

/// Most that is read of its answer, in bytes.
const MOST: u64 = 64 << 10;

/// Files the daemon opens beside its connections: database, log, listeners, and some in reserve.
const OTHER_FILES: u64 = 64;

const LOOK: &str = "systemctl status jobtrackd; journalctl -u jobtrackd -n 50";

/// Who follows the database; `None` when that cannot be seen from here.
pub(in crate::cli) async fn lock(database: &Path) -> (Vec<Finding>, Option<Holder>) {
    let check = "daemon.lock";
    match InstanceLock::holder(database) {
        Ok(Holder::Daemon(note)) => {
            let says = format!("a daemon follows this database ({note})");
            (vec![Finding::ok(check, says)], Some(Holder::Daemon(note)))
        }
        Ok(Holder::Nobody) => {
            let found = Finding::warning(
                check,
                "no daemon follows this database",
                format!(
                    "jobs are neither polled nor told of; run: systemctl start jobtrackd, and if it does not stay: {LOOK}"
                ),
            );
            let mut findings = vec![found];
            findings.extend(unit().await);
            (findings, Some(Holder::Nobody))
        }
        Err(error) => {
            let says = format!("whether a daemon runs cannot be seen: {error}");
            (vec![Finding::note(check, says, as_root())], None)
        }
    }
}

/// What systemd says of the unit, where there is one.
async fn unit() -> Option<Finding> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let answer = tool::ask("systemctl", &["is-active", "jobtrackd"]).await?;
    let state = answer.ok().filter(|state| !state.is_empty())?;
    Some(Finding::note(
        "daemon.unit",
        format!("systemd says that jobtrackd is {}", outside(&state, 40)),
        format!("see why: {LOOK}"),
    ))
}

/// What the status server says.
pub(in crate::cli) async fn ready(settings: &StatusSettings, holder: Option<&Holder>) -> Finding {
    let check = "daemon.ready";
    let address = match &settings.listen {
        None => return Finding::ok(check, "the status server is turned off"),
        Some(Listen::Tcp(address)) if address.port() == 0 => {
            return Finding::ok(
                check,
                "the status server has a port of its own choice and is not asked",
            );
        }
        Some(address) => &reached_at(address),
    };
    let token = settings.token.as_ref();
    let runs = match holder {
        Some(Holder::Daemon(_)) => true,
        Some(Holder::Nobody) => false,
        None => return answered(check, address, get(address, token).await),
    };
    match (get(address, token).await, runs) {
        (answer, true) => answered(check, address, answer),
        (Ok(_), false) => Finding::problem(
            check,
            format!("something answers on {address}, though no daemon follows this database"),
            format!(
                "the daemon cannot listen there and does not start; find out who it is: {}",
                match address {
                    Listen::Tcp(address) => format!("ss -ltnp 'sport = :{}'", address.port()),
                    Listen::Unix(path) => format!("ss -lxp src {}", path.display()),
                }
            ),
        ),
        (Err(_), false) => Finding::ok(
            check,
            format!("nobody listens on {address}, as nothing runs"),
        ),
    }
}

fn answered(
    check: &'static str,
    address: &Listen,
    answer: Result<(u16, Value), Unanswered>,
) -> Finding {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(Unanswered::Forbidden) => {
            let says = format!("this user may not connect to {address}");
            return Finding::note(check, says, as_root());
        }
        Err(Unanswered::Otherwise(error)) => {
            return Finding::warning(
                check,
                format!("/readyz on {address} gives no answer: {error}"),
                format!(
                    "the daemon may be starting or stuck, or run with another status.listen; run: {LOOK}"
                ),
            );
        }
    };
    let word = outside(body["status"].as_str().unwrap_or("nothing"), 40);
    let reasons: Vec<String> = body["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|reason| outside(reason, 300))
        .collect();
    let says = format!("the daemon says it is {word}");
    let says = if reasons.is_empty() {
        says
    } else {
        format!("{says}: {}", reasons.join("; "))
    };
    match (status, word.as_str()) {
        (200, "ok") => Finding::ok(check, says),
        (200, "degraded") => Finding::warning(
            check,
            says,
            "it does its work, the API does not let it; it goes on by itself. Follow it: journalctl -fu jobtrackd",
        ),
        _ => Finding::problem(
            check,
            says,
            format!(
                "it cannot do its work; docs/operating.md, \"What /readyz says\", explains each reason; run: {LOOK}"
            ),
        ),
    }
}

/// A server that listens on all addresses is reached on loopback.
fn reached_at(listen: &Listen) -> Listen {
    let Listen::Tcp(listen) = listen else {
        return listen.clone();
    };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Listen::Tcp(SocketAddr::new(ip, listen.port()))
}

/// Why there is no answer.
enum Unanswered {
    /// This user may not use the socket.
    Forbidden,
    /// A few words.
    Otherwise(String),
}

impl From<&str> for Unanswered {
    fn from(says: &str) -> Self {
        Self::Otherwise(says.to_owned())
    }
}

/// `GET /readyz`: the status and the body.
async fn get(address: &Listen, token: Option<&SecretString>) -> Result<(u16, Value), Unanswered> {
    let asking = async {
        match address {
            Listen::Tcp(at) => asked(TcpStream::connect(at).await?, &at.to_string(), token).await,
            Listen::Unix(path) => asked(UnixStream::connect(path).await?, "localhost", token).await,
        }
    };
    let text = match timeout(LIMIT, asking).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Unanswered::Forbidden);
        }
        Ok(Err(error)) => return Err(Unanswered::Otherwise(error.to_string())),
        Err(_) => {
            let says = format!("none within {} s", LIMIT.as_secs());
            return Err(Unanswered::Otherwise(says));
        }
    };
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or("it does not speak HTTP/1.1")?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body = serde_json::from_str(body).map_err(|_| "it is not jobtrackd's status server")?;
    Ok((status, body))
}

/// The whole answer, at most [`MOST`] of it.
async fn asked(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    token: Option<&SecretString>,
) -> io::Result<String> {
    let head = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    stream.write_all(head.as_bytes()).await?;
    if let Some(token) = token {
        for part in ["Authorization: Bearer ", token.expose_secret(), "\r\n"] {
            stream.write_all(part.as_bytes()).await?;
        }
    }
    stream.write_all(b"\r\n").await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether all connections that are allowed at once can be open at once.
pub(in crate::cli) fn open_files(settings: &Settings, holder: Option<&Holder>) -> Finding {
    let check = "daemon.open_files";
    let webhooks = settings.webhooks.iter();
    let peers = Limits::default().connections;
    let connections: usize = settings.upstream.max_in_flight
        + webhooks.map(|each| each.max_in_flight).sum::<usize>()
        + settings.status.listen.as_ref().map_or(0, |_| peers);
    let wanted = connections as u64 + OTHER_FILES;
    let daemons = match holder {
        Some(Holder::Daemon(note)) => limit_of(note),
        _ => None,
    };
    let (whose, limit) = match daemons {
        Some(limit) => ("the daemon", limit),
        None => (
            "this shell",
            // To which the daemon raises its own.
            getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        ),
    };
    let says = format!("{whose} may open {limit} files, and all connections at once need {wanted}");
    if limit >= wanted {
        return Finding::ok(check, says);
    }
    Finding::warning(
        check,
        says,
        format!(
            "requests fail when no more can be opened; write LimitNOFILE={} into the unit (systemctl edit jobtrackd), or \
             lower max_in_flight",
            wanted.next_power_of_two()
        ),
    )
}

/// The soft limit of the process in the lock's note (`pid 4711, since …`), when it may be read.
fn limit_of(note: &str) -> Option<u64> {
    let pid: u32 = note.strip_prefix("pid ")?.split(',').next()?.parse().ok()?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
