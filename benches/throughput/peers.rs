//! Peers in processes of their own: this program again, in another role. What they take of the processor is theirs.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::clock::Clock;
use jobtrackd::simulator::quick;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::flows::Flows;
use super::percentile;
use super::place::DatabaseFile;
use super::table::Round;
use super::upstream::Upstream;

/// Before a client that was turned away comes again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// What `{n}` in a path counts up to.
pub(crate) const NAMES: usize = 100;

/// What stands before the role on the command line.
pub(crate) const AS: &str = "--as";

/// The core of the daemon, and of the bare loops it is compared with.
pub(crate) const MEASURED: &str = "0";

/// The core of all others.
const OTHERS: &str = "1";

/// A command that runs `program` on that core alone.
pub(crate) fn on_core(core: &str, program: impl AsRef<OsStr>) -> std::process::Command {
    let mut command = std::process::Command::new("taskset");
    command.args(["--cpu-list", core]).arg(program);
    command
}

/// Plays the role that the arguments name: `upstream`, `peers`, `others`, `bare …`, `flows …`, `api SHAPE`, or
/// `clients ADDRESS COUNT SECONDS MANNER PATH`.
pub(crate) async fn play(arguments: &[String]) -> anyhow::Result<()> {
    match arguments {
        [role] if role == "upstream" => upstream().await,
        [role] if role == "peers" => Ok(quick::serve(Flows::default()).await?),
        [role] if role == "others" => Ok(quick::serve(super::million::Others::default()).await?),
        [role, rest @ ..] if role == "flows" => super::flows::follow(rest).await,
        [role, what, rest @ ..] if role == "bare" => super::bare::run(what, rest).await,
        [role, shape] if role == "api" => super::answers::serve(shape).await,
        [role, address, count, seconds, manner, path] if role == "clients" => {
            let until = Instant::now() + Duration::from_secs(seconds.parse()?);
            clients(address, count.parse()?, until, manner, path).await
        }
        _ => anyhow::bail!("no such role: {arguments:?}"),
    }
}

/// Says where it listens, and then of each request the job and when it came.
async fn upstream() -> anyhow::Result<()> {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let upstream = Upstream::start(Some(seen)).await?;
    let clock = Clock::system();
    println!("{}", upstream.base_url());
    while let Some((id, _)) = requests.recv().await {
        println!("{id} {}", clock.now().0);
    }
    Ok(())
}

/// Clients that ask again and again and read what comes, or with the manner `slow` hardly do. `{n}` in the path is
/// another number below [`NAMES`] each time. Says how many were answered and turned away, and how long answers took.
async fn clients(
    address: &str,
    count: usize,
    until: Instant,
    manner: &str,
    path: &str,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for client in 0..count {
        let (address, manner, path) = (address.to_owned(), manner.to_owned(), path.to_owned());
        tasks.spawn(async move {
            let mut took = Vec::new();
            let mut refused = 0;
            for number in (client..).step_by(count) {
                if Instant::now() >= until {
                    break;
                }
                let request = request(
                    &address,
                    &path.replace("{n}", &(number % NAMES).to_string()),
                );
                let asked = Instant::now();
                let asking = ask(&address, &request, manner == "slow");
                match timeout_at(until, asking).await {
                    Ok(Ok(503)) => {
                        refused += 1;
                        sleep(COME_AGAIN).await;
                    }
                    Ok(Ok(_)) => took.push(asked.elapsed().as_secs_f64() * 1000.0),
                    // A slow reader is cut off in the end; others are counted by what they miss.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            (took, refused)
        });
    }
    let (mut took, mut refused) = (Vec::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        let (mine, refusals) = ended?;
        took.extend(mine);
        refused += refusals;
    }
    print!("{} answered, {refused} turned away", took.len());
    if !took.is_empty() {
        let (half, most) = (percentile(&mut took, 50), percentile(&mut took, 99));
        print!(", p50 {half:.0} ms, p99 {most:.0} ms");
    }
    println!();
    Ok(())
}

fn request(address: &str, path: &str) -> String {
    let answers = r#"{"mfa-response":["1"]}"#;
    if path.ends_with("/mfa") {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{answers}",
            answers.len()
        )
    } else {
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
    }
}

/// The status of the answer, read to its end.
async fn ask(address: &str, request: &str, slowly: bool) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut some = vec![0; 256 << 10];
    let mut head = Vec::new();
    loop {
        let wanted = if slowly { 1 } else { some.len() };
        let length = stream.read(&mut some[..wanted]).await?;
        if head.len() < 12 {
            head.extend_from_slice(&some[..length.min(12)]);
        }
        if length == 0 {
            break;
        }
        if slowly {
            sleep(Duration::from_secs(1)).await;
        }
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.get(9..12).context("no answer")?.parse()?)
}

/// An empty database, and peers in this role on the other core, with their base URL.
pub(crate) async fn beside_an_empty_database(
    role: &str,
) -> anyhow::Result<(Peer, String, DatabaseFile)> {
    let mut peers = Peer::beside(&[role])?;
    let base = peers.line().await?;
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    Ok((peers, base, place))
}

/// What the bare loop `what` takes for `count` things, on the core of the daemon, with the configuration of `place`.
pub(crate) async fn bare_round(
    what: &str,
    base: &str,
    in_flight: &str,
    count: u32,
    place: &DatabaseFile,
) -> anyhow::Result<Round> {
    let (configuration, number) = (place.configuration(), count.to_string());
    let configuration = configuration.to_string_lossy();
    let mut bare = Peer::measured(&["bare", what, base, in_flight, &number, &configuration])?;
    Round::said(f64::from(count), &bare.line().await?)
}

/// A peer; ended when it is dropped.
pub(crate) struct Peer {
    _process: Child,
    pub(crate) says: Lines<BufReader<ChildStdout>>,
    hears: ChildStdin,
}

impl Peer {
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::started(
            std::process::Command::new(std::env::current_exe()?),
            arguments,
        )
    }

    /// One that leaves the core of the daemon to it.
    pub(crate) fn beside(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::started(on_core(OTHERS, std::env::current_exe()?), arguments)
    }

    /// One on the core of the daemon, to be compared with it.
    pub(crate) fn measured(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::started(on_core(MEASURED, std::env::current_exe()?), arguments)
    }

    fn started(program: std::process::Command, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::from(program)
            .arg(AS)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = process.stdout.take().context("no standard output")?;
        Ok(Self {
            says: BufReader::new(said).lines(),
            hears: process.stdin.take().context("no standard input")?,
            _process: process,
        })
    }

    /// Its answer to a question.
    pub(crate) async fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        self.hears
            .write_all(format!("{question}\n").as_bytes())
            .await?;
        self.line().await
    }

    /// Clients of the status server at `address`.
    pub(crate) fn clients(
        address: &str,
        count: usize,
        span: Duration,
        manner: &str,
        path: &str,
    ) -> anyhow::Result<Self> {
        let (count, seconds) = (count.to_string(), span.as_secs().to_string());
        Self::start(&["clients", address, &count, &seconds, manner, path])
    }

    /// The next line it says.
    pub(crate) async fn line(&mut self) -> anyhow::Result<String> {
        self.says.next_line().await?.context("a peer has ended")
    }
}
