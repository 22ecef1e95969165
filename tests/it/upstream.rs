//! The upstream client over real sockets: a server that is scripted byte by byte, and what the client makes of it.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests; clippy only knows the functions marked as such"
)]

mod answers;
mod attribution;
mod auth;
mod check;
mod gate;
mod http2;
mod log;
mod memory;
mod oauth2;
mod relay;
mod secrets;
mod server;
mod tls_server;
mod token;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jobtrackd::clock::{Clock, Jitter};
use jobtrackd::core::dialect::Basiq;
use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::{Poll, PollOutcome};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::sockets::Sockets;
use jobtrackd::upstream::{
    AnswerMemory, Auth, JobPath, KeyHeader, OAuthClient, PollRequest, Upstream, UpstreamError,
    UpstreamSettings,
};
use server::Server;
use url::Url;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const START: UnixMillis = UnixMillis(784_111_777_000);

fn basiq(api_key: &str) -> Auth {
    Auth::Basiq {
        api_key: api_key.to_owned().into(),
        api_version: "3.0".to_owned(),
        scope: "SERVER_ACCESS".to_owned(),
    }
}

fn bearer(token: &str) -> Auth {
    Auth::Bearer {
        token: token.to_owned().into(),
    }
}

fn basic(login: &str) -> Auth {
    Auth::Basic {
        login: login.to_owned().into(),
    }
}

fn header(name: &str, key: &str) -> Auth {
    Auth::Header {
        header: KeyHeader::parse(name).unwrap(),
        key: key.to_owned().into(),
    }
}

/// A client of the token endpoint `/oauth2/token` of a server.
fn oauth2(server: &Server, secret: &str, scope: Option<&str>) -> Auth {
    Auth::OAuth2(OAuthClient {
        token_url: Url::parse(&format!("{}/oauth2/token", server.url())).unwrap(),
        client_id: "a client".to_owned(),
        client_secret: secret.to_owned().into(),
        scope: scope.map(str::to_owned),
    })
}

fn settings(base_url: &str, auth: Auth) -> UpstreamSettings {
    UpstreamSettings {
        base_url: Url::parse(base_url).unwrap(),
        dialect: Arc::new(Basiq),
        job_path: JobPath::parse("/jobs/{id}").unwrap(),
        auth,
        timeout: Duration::from_secs(15),
        max_retry_after: Duration::from_secs(3600),
        max_in_flight: 256,
        requests_per_second: None::<NonZeroU32>,
    }
}

fn client(settings: &UpstreamSettings) -> Upstream {
    try_client(settings, AnswerMemory::default()).unwrap()
}

fn try_client(
    settings: &UpstreamSettings,
    memory: AnswerMemory,
) -> Result<Upstream, UpstreamError> {
    let (clock, jitter) = (Clock::driven(START), Jitter::seeded(1));
    Upstream::new(settings, clock, jitter, Sockets::default(), memory)
}

fn client_of(server: &Server, auth: Auth) -> Upstream {
    client(&settings(&server.url(), auth))
}

async fn poll(upstream: &Upstream) -> Poll {
    poll_job(upstream, "61723").await
}

async fn poll_job(upstream: &Upstream, id: &str) -> Poll {
    let id = JobId::parse(id).unwrap();
    let url = upstream.target(&id, None).unwrap();
    poll_at(upstream, &id, &url).await
}

async fn poll_at(upstream: &Upstream, id: &JobId, url: &Url) -> Poll {
    let request = PollRequest {
        url,
        job: id,
        expected: Some(id),
        known: None,
        if_none_match: None,
    };
    upstream.poll(&request).await
}

/// That the job was read.
#[track_caller]
fn assert_read(poll: &Poll) {
    assert!(
        matches!(poll.outcome, PollOutcome::Snapshot { .. }),
        "{:?}",
        poll.outcome
    );
}

/// Polls jobs `0` to `count` at the same time.
async fn poll_many(upstream: &Upstream, count: usize) -> Vec<Poll> {
    let polls: Vec<_> = (0..count)
        .map(|number| {
            let upstream = upstream.clone();
            tokio::spawn(async move { poll_job(&upstream, &number.to_string()).await })
        })
        .collect();
    let mut done = Vec::new();
    for poll in polls {
        done.push(poll.await.unwrap());
    }
    done
}
