//! How all clients open connections: the address of the name, TCP that asks for signs of life, and TLS for https, all of it
//! within one limit on the time.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use rustls::ClientConfig;
use tokio::time::timeout;
use tower_service::Service;

/// After how long without traffic the kernel asks for a sign of life, and how often again.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// After how many of these questions without an answer a connection is given up.
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent bytes may stay without an acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens connections, each within the limit. `R` looks up names; an address in a URL never reaches it.
#[derive(Debug, Clone)]
pub struct Connector<R = GaiResolver> {
    connector: HttpsConnector<HttpConnector<R>>,
    limit: Duration,
}

/// Which connections are opened.
#[derive(Debug, Clone, Copy)]
pub struct Protocols {
    /// Those without TLS too.
    pub plain: bool,
    /// Over TLS, HTTP/2 where the peer offers it.
    pub http2: bool,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl<R> Connector<R> {
    /// `limit` is divided among the addresses of a name, so that the second has a chance when the first is silent.
    pub fn new(resolver: R, tls: ClientConfig, protocols: Protocols, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limit));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = match protocols.plain {
            true => builder.https_or_http(),
            false => builder.https_only(),
        };
        let connector = match protocols.http2 {
            true => builder.enable_all_versions().wrap_connector(tcp),
            false => builder.enable_http1().wrap_connector(tcp),
        };
        Self { connector, limit }
    }
}

impl<R> Service<Uri> for Connector<R>
where
    HttpsConnector<HttpConnector<R>>: Service<Uri, Future: Send + 'static, Error = BoxError>,
{
    type Response = <HttpsConnector<HttpConnector<R>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (opening, limit) = (self.connector.call(to), self.limit);
        Box::pin(async move {
            let opened = timeout(limit, opening).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within its time");
            opened.map_err(|_| late())?
        })
    }
}
