//! A limit on the time to open a connection: name, TCP and TLS together.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;
use tower_service::Service;

/// Opens connections, each within the limit.
#[derive(Debug, Clone)]
pub(super) struct Patience<C> {
    connector: C,
    limit: Duration,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl<C> Patience<C> {
    pub(super) fn new(connector: C, limit: Duration) -> Self {
        Self { connector, limit }
    }
}

impl<C> Service<Uri> for Patience<C>
where
    C: Service<Uri, Future: Send + 'static, Error: Into<BoxError>>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (opening, limit) = (self.connector.call(to), self.limit);
        Box::pin(async move {
            let opened = timeout(limit, opening).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within its time");
            opened.map_err(|_| late())?.map_err(Into::into)
        })
    }
}
