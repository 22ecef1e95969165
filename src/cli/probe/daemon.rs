//! The daemon: whether it runs, what its status server says, and whether it may open enough files.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::{Finding, note, ok, output_of, problem, warning, within};
use crate::cli::text::outside;
use crate::config::Settings;
use crate::status::{Limits, Listen, StatusSettings};
use crate::store::sqlite::{Holder, InstanceLock};

/// Most that is read of its answer, in bytes.
const MOST: u64 = 64 << 10;

/// Files the daemon opens beside its connections: database, log, listeners, and some in reserve.
const OTHER_FILES: u64 = 64;

/// What shows why the daemon does not run or work.
const SHOW_DAEMON: &str = "systemctl status jobtrackd; journalctl -u jobtrackd -n 50";

/// Who follows the database and, as far as there are settings, how it does.
pub(in crate::cli) async fn probe(database: &Path, settings: Option<&Settings>) -> Vec<Finding> {
    let check = "daemon.lock";
    let holder = InstanceLock::holder(database);
    let mut findings = vec![match &holder {
        Ok(Holder::Daemon(pid)) => ok(check, format!("a daemon follows this database ({pid})")),
        Ok(Holder::Nobody) => warning(check, "no daemon follows this database").advise(format!(
            "no job is polled and no event is sent; run: systemctl start jobtrackd, and if it does not stay: {SHOW_DAEMON}"
        )),
        Err(error) => Finding::hidden(check, format!("whether a daemon runs cannot be seen: {error}")),
    }];
    let holder = holder.ok();
    if holder == Some(Holder::Nobody) {
        findings.extend(unit().await);
    }
    if let Some(settings) = settings {
        findings.push(ready(&settings.status, holder.as_ref()).await);
        findings.push(open_files(settings, holder.as_ref()));
    }
    findings
}

/// What systemd says of the unit, where there is one.
async fn unit() -> Option<Finding> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let answer = output_of("systemctl", &["is-active", "jobtrackd"]).await?;
    let state = answer.ok().filter(|state| !state.is_empty())?;
    let text = format!("systemd says that jobtrackd is {}", outside(&state, 40));
    Some(note("daemon.unit", text).advise(format!("see why: {SHOW_DAEMON}")))
}

/// What the status server says.
async fn ready(settings: &StatusSettings, holder: Option<&Holder>) -> Finding {
    let check = "daemon.ready";
    let address = match &settings.listen {
        None => return ok(check, "the status server is turned off"),
        Some(Listen::Tcp(address)) if address.port() == 0 => {
            let text = "the status server listens on a port that is chosen at its start, so it was not checked";
            return ok(check, text);
        }
        Some(address) => reached_at(address),
    };
    let answer = readyz(&address, settings.token.as_ref()).await;
    match (answer, holder) {
        (Ok(_), Some(Holder::Nobody)) => {
            let who = match &address {
                Listen::Tcp(address) => format!("ss -ltnp 'sport = :{}'", address.port()),
                Listen::Unix(path) => format!("ss -lxp src {}", path.display()),
            };
            let text =
                format!("something answers on {address}, though no daemon follows this database");
            problem(check, text).advise(format!(
                "the daemon cannot listen there and does not start; find out who it is: {who}"
            ))
        }
        (Err(_), Some(Holder::Nobody)) => ok(
            check,
            format!("nobody listens on {address}, as no daemon runs"),
        ),
        (Ok((status, body)), _) => answered(status, &body),
        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::hidden(check, format!("this user may not connect to {address}"))
        }
        (Err(error), _) => {
            let text = format!("/readyz on {address} gives no answer: {error}");
            warning(check, text).advise(format!(
                "the daemon may be starting or stuck, or run with another status.listen; run: {SHOW_DAEMON}"
            ))
        }
    }
}

fn answered(status: u16, body: &Value) -> Finding {
    let check = "daemon.ready";
    let word = outside(body["status"].as_str().unwrap_or("nothing"), 40);
    let reasons = body["reasons"].as_array().into_iter().flatten();
    let reasons = reasons.filter_map(|reason| Some(outside(reason.as_str()?, 300)));
    let reasons: Vec<String> = reasons.collect();
    let colon = if reasons.is_empty() { "" } else { ": " };
    let text = format!("the daemon says it is {word}{colon}{}", reasons.join("; "));
    match (status, word.as_str()) {
        (200, "ok") => ok(check, text),
        (200, "degraded") => warning(check, text).advise(
            "it does its work, the API does not let it; it goes on by itself. Follow it: journalctl -fu jobtrackd",
        ),
        _ => problem(check, text).advise(format!(
            "it cannot do its work; docs/operating.md, \"What /readyz says\", explains each reason; run: {SHOW_DAEMON}"
        )),
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

/// The status and the body of `GET /readyz`.
async fn readyz(address: &Listen, token: Option<&SecretString>) -> io::Result<(u16, Value)> {
    let exchange = async {
        match address {
            Listen::Tcp(at) => get(TcpStream::connect(at).await?, &at.to_string(), token).await,
            Listen::Unix(path) => get(UnixStream::connect(path).await?, "localhost", token).await,
        }
    };
    let text = within("none", exchange).await?;
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::other("it does not speak HTTP/1.1"))?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let not_ours = |_| io::Error::other("it is not jobtrackd's status server");
    Ok((status, serde_json::from_str(body).map_err(not_ours)?))
}

/// The whole answer, at most [`MOST`] of it.
async fn get(
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
fn open_files(settings: &Settings, holder: Option<&Holder>) -> Finding {
    let check = "daemon.open_files";
    let webhooks = settings.webhooks.iter().map(|each| each.max_in_flight);
    let listen = settings.status.listen.iter();
    let clients = listen.map(|_| Limits::default().connections);
    let others: usize = webhooks.chain(clients).sum();
    let wanted = (settings.upstream.max_in_flight + others) as u64 + OTHER_FILES;
    let daemons = match holder {
        Some(Holder::Daemon(note)) => limit_of(note),
        _ => None,
    };
    // The daemon raises its own limit to the hard one.
    let own = || getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let (whose, limit) = match daemons {
        Some(limit) => ("the daemon", limit),
        None => ("this shell", own()),
    };
    let text = format!("{whose} may open {limit} files, and all connections at once need {wanted}");
    if limit >= wanted {
        return ok(check, text);
    }
    warning(check, text).advise(format!(
        "requests fail when no more can be opened; write LimitNOFILE={} into the unit (systemctl edit jobtrackd), or lower \
         max_in_flight",
        wanted.next_power_of_two()
    ))
}

/// The soft limit of the process in the lock's note (`pid 4711, since …`), when it may be read.
fn limit_of(note: &str) -> Option<u64> {
    let pid: u32 = note.strip_prefix("pid ")?.split(',').next()?.parse().ok()?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
