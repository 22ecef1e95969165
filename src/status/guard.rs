//! Checks of every request before its route, and headers of every answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use parking_lot::RwLock;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use zeroize::Zeroizing;

use super::refusal::Refusal;
use super::token::Token;
use super::{Limits, Listen, StatusSettings};

/// Largest body of a request, in bytes: 64 KiB.
const BODY_BYTES: usize = 64 << 10;

/// Routes that answer without the token, with the status alone.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which requests are permitted; can be changed while the server runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(Arc<RwLock<Rules>>);

#[derive(Debug)]
struct Rules {
    token: Option<Token>,
    hosts: Vec<String>,
}

impl Access {
    /// From the settings.
    #[must_use]
    pub fn new(settings: &StatusSettings) -> Self {
        Self(Arc::new(RwLock::new(Rules::new(settings))))
    }

    /// Applies these settings from the next request on.
    pub fn renew(&self, settings: &StatusSettings) {
        *self.0.write() = Rules::new(settings);
    }
}

impl Rules {
    fn new(settings: &StatusSettings) -> Self {
        Self {
            token: settings.token.as_ref().map(Token::new),
            hosts: settings.hosts.clone(),
        }
    }

    /// Whether a request with these headers has the token, or none is required.
    fn is_trusted(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let presented = only(headers, &header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        presented.is_some_and(|presented| token.is(presented))
    }

    fn has_host(&self, name: &str) -> bool {
        self.hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// Extension of a request that may see everything: it has the token, or none is required.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted;

/// Extension of every request: the end of the server, for routes that wait. Bodies without a length end with it.
#[derive(Debug, Clone)]
pub struct Stopping(pub CancellationToken);

/// The checks around all routes.
#[derive(Debug)]
pub(super) struct Guard {
    access: Access,
    address: Listen,
    limits: Limits,
    stop: CancellationToken,
}

impl Guard {
    /// `address` is the one that is listened on, with its actual port.
    pub(super) fn new(
        access: Access,
        address: Listen,
        limits: Limits,
        stop: CancellationToken,
    ) -> Self {
        Self {
            access,
            address,
            limits,
            stop,
        }
    }

    pub(super) fn around(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::new(self), guarded))
    }

    /// The request as the routes may see it, with its body read.
    async fn admit(&self, mut request: Request) -> Result<Request, Refusal> {
        let trusted = self.permits(&request)?;
        let method = request.method();
        let writes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        if writes && !is_json(request.headers()) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send the header Content-Type: application/json.",
            ));
        }
        if trusted {
            request.extensions_mut().insert(Trusted);
        }
        request.extensions_mut().insert(Stopping(self.stop.clone()));
        let (head, body) = request.into_parts();
        if body.size_hint().lower() > BODY_BYTES as u64 {
            return Err(body_too_large());
        }
        let body = timeout(self.limits.body, read(body)).await.map_err(|_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "A whole request has to arrive within some seconds.",
            )
        })??;
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// Checks host, origin and token; returns whether the request is trusted, or only one that needs no token.
    fn permits(&self, request: &Request) -> Result<bool, Refusal> {
        let rules = self.access.0.read();
        let headers = request.headers();
        let host = named_host(request)?;
        if let Some(host) = &host
            && !is_ours(host, &self.address, &rules)
        {
            return Err(wrong_host());
        }
        if !is_same_origin(headers, host.as_ref(), &rules) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Pages of other sites may not send requests.",
            ));
        }
        let trusted = rules.is_trusted(headers);
        let open = [Method::GET, Method::HEAD].contains(request.method())
            && OPEN.contains(&request.uri().path());
        if trusted || open {
            Ok(trusted)
        } else {
            Err(Refusal::token())
        }
    }

    fn finished(&self, mut answer: Response) -> Response {
        let headers = answer.headers_mut();
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        answer.map(|body| {
            let stop = Box::pin(self.stop.clone().cancelled_owned());
            Body::new(Ending { body, stop })
        })
    }
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let answer = match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    guard.finished(answer)
}

fn wrong_host() -> Refusal {
    let detail = "Use the address of status.listen, or add this name to status.hosts.";
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail)
}

fn body_too_large() -> Refusal {
    let detail = "A request has at most 65536 bytes after its head.";
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// The only header of this name, when it is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The host that the request names. HTTP/1.0 does not require one, and browsers do not speak it.
fn named_host(request: &Request) -> Result<Option<Authority>, Refusal> {
    let in_target = request.uri().authority().cloned();
    if !request.headers().contains_key(header::HOST) && request.version() < Version::HTTP_11 {
        return Ok(in_target);
    }
    let host: Authority = only(request.headers(), &header::HOST)
        .and_then(|host| host.parse().ok())
        .filter(|host: &Authority| !host.as_str().contains('@'))
        .ok_or_else(|| Refusal::request("Exactly one Host header is needed."))?;
    match in_target {
        Some(target) if target != host => Err(wrong_host()),
        _ => Ok(Some(host)),
    }
}

/// Whether this is a name of the server. A page of another site can make its own name resolve to this machine (DNS
/// rebinding), but cannot make an IP address or `localhost` its name.
fn is_ours(host: &Authority, address: &Listen, rules: &Rules) -> bool {
    let Listen::Tcp(address) = address else {
        return true;
    };
    let port = host.port_u16().unwrap_or(80) == address.port();
    match ip(host.host()) {
        Some(ip) if address.ip().to_canonical().is_loopback() => port && is_local(ip, *address),
        Some(_) => true,
        None => {
            (port && host.host().eq_ignore_ascii_case("localhost")) || rules.has_host(host.host())
        }
    }
}

fn is_local(ip: IpAddr, address: SocketAddr) -> bool {
    let usual = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    usual.contains(&ip) || ip.to_canonical() == address.ip().to_canonical()
}

/// The address of an IP literal, which has brackets if it is one of IPv6.
fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether no browser sent it, or one that shows a page of this server.
fn is_same_origin(headers: &HeaderMap, host: Option<&Authority>, rules: &Rules) -> bool {
    let site_fits = !headers.contains_key(SEC_FETCH_SITE)
        || only(headers, &SEC_FETCH_SITE)
            .is_some_and(|site| ["same-origin", "none"].contains(&site));
    let origin_fits = || {
        let origin = only(headers, &header::ORIGIN)?;
        let (scheme, origin) = origin.split_once("://")?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let origin: Authority = origin.parse().ok()?;
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
        let same = host.is_some_and(|host| {
            host.host().eq_ignore_ascii_case(origin.host()) && port(host) == port(&origin)
        });
        (same || rules.has_host(origin.host())).then_some(())
    };
    site_fits && (!headers.contains_key(header::ORIGIN) || origin_fits().is_some())
}

/// Whether the body is declared as JSON: pages of other sites can send that only after a preflight, which is refused.
fn is_json(headers: &HeaderMap) -> bool {
    only(headers, &header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    })
}

/// Reads a body into memory that is overwritten when it is dropped: it may hold a user's answers. The longest one fits, since
/// growing would leave copies behind.
async fn read(mut body: Body) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().exact().unwrap_or(BODY_BYTES as u64);
    let room = usize::try_from(announced).map_or(BODY_BYTES, |size| size.min(BODY_BYTES));
    let mut whole = Zeroizing::new(Vec::with_capacity(room));
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::request("The content is incomplete."))?;
        let data = frame.data_ref().map_or(&[][..], AsRef::as_ref);
        if whole.len() + data.len() > room {
            return Err(body_too_large());
        }
        whole.extend_from_slice(data);
    }
    Ok(Bytes::from_owner(whole))
}

/// A body of unknown length that ends with the server.
struct Ending {
    body: Body,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // What is ready is still sent.
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self.stop.as_mut().poll(cx).map(|()| None),
            ready => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
