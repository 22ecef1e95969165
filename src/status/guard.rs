//! Checks of every request before its route, and headers of every answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use zeroize::Zeroizing;

use super::access::{Access, Operator, Rules, only};
use super::dashboard;
use super::refusal::Refusal;
use super::{Limits, Listen};
use crate::clock::Clock;

/// Largest body of a request, in bytes: 64 KiB.
const BODY_BYTES: usize = 64 << 10;

/// Routes that answer without the token, with the status alone.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Extension of a request that may see everything: it has the token, or none is required.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted;

/// Extension of every request: the end of the server, for routes that wait. Bodies without a length end with it.
#[derive(Debug, Clone)]
pub struct Stopping(pub CancellationToken);

/// How a request is refused.
enum Refused {
    Because(Refusal),
    /// With the form that asks for the token, to show this page.
    SignIn(Uri),
    /// A link of another site leads here: browsers keep the cookie back, and send it with the next request.
    Elsewhere(Uri),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Because(refusal)
    }
}

/// The checks around all routes.
#[derive(Debug)]
pub(super) struct Guard {
    access: Access,
    address: Listen,
    limits: Limits,
    clock: Clock,
    stop: CancellationToken,
}

impl Guard {
    /// `address` is the one that is listened on, with its actual port.
    pub(super) fn new(
        access: Access,
        address: Listen,
        limits: Limits,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        Self {
            access,
            address,
            limits,
            clock,
            stop,
        }
    }

    pub(super) fn around(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::new(self), guarded))
    }

    /// The request as the routes may see it, with its body read.
    async fn admit(&self, mut request: Request) -> Result<Request, Refused> {
        let operator = self.permits(&request)?;
        let is_form = dashboard::has(request.uri().path());
        if writes(request.method()) && !is_form && !is(request.headers(), "application/json") {
            let detail = "Send the header Content-Type: application/json.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
        }
        if let Some(operator) = operator {
            request.extensions_mut().insert(Trusted);
            request.extensions_mut().insert(operator);
        }
        request.extensions_mut().insert(Stopping(self.stop.clone()));
        let (head, body) = request.into_parts();
        if body.size_hint().lower() > BODY_BYTES as u64 {
            return Err(body_too_large().into());
        }
        let body = timeout(self.limits.body, read(body)).await.map_err(|_| {
            let detail = "A whole request has to arrive within some seconds.";
            Refusal::new(StatusCode::REQUEST_TIMEOUT, detail)
        })??;
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// Checks host, origin, token and permission; returns who sends it, or `None` for a request that needs no token.
    fn permits(&self, request: &Request) -> Result<Option<Operator>, Refused> {
        let rules = self.access.0.read();
        let headers = request.headers();
        let path = request.uri().path();
        let is_page = dashboard::has(path);
        let host = named_host(request)?;
        if let Some(host) = &host
            && !is_ours(host, &self.address, &rules)
        {
            return Err(wrong_host().into());
        }
        let same = is_same_origin(headers, host.as_ref(), &rules);
        let writes = writes(request.method());
        let may_come = same || (request.method() == Method::GET && is_visit(headers, path));
        if !may_come || (is_page && writes && !is_sent_from_here(headers)) {
            let detail = "Pages of other sites may not send requests.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, detail).into());
        }
        if is_page && writes && !is(headers, "application/x-www-form-urlencoded") {
            let detail = "Send the header Content-Type: application/x-www-form-urlencoded.";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
        }
        let is_off = is_page && !rules.dashboard;
        let operator = rules.operator(headers, is_page && !is_off, self.clock.now());
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        let is_open = (reads && OPEN.contains(&path)) || (!is_off && dashboard::is_open(path));
        match operator {
            Some(_) if is_off => Err(Refusal::no_such_route().into()),
            Some(operator) if writes && !operator.may_act && !is_open => {
                Err(Refusal::read_only(&operator.name).into())
            }
            Some(operator) => Ok(Some(operator)),
            None if is_open => Ok(None),
            None if is_page && !is_off && reads && wants_page(headers) => match same {
                true => Err(Refused::SignIn(request.uri().clone())),
                false => Err(Refused::Elsewhere(request.uri().clone())),
            },
            None => Err(Refusal::token().into()),
        }
    }

    /// `end` is that of who has sent the request.
    fn finished(&self, mut answer: Response, end: Option<CancellationToken>) -> Response {
        let headers = answer.headers_mut();
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        let ends = [Some(self.stop.clone()), end].into_iter().flatten();
        let ends = ends.map(|end| Box::pin(end.cancelled_owned())).collect();
        answer.map(|body| Body::new(Ending { body, ends }))
    }
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let wants_page = dashboard::has(request.uri().path())
        && wants_page(request.headers())
        && guard.access.0.read().dashboard;
    let mut operator = None;
    let mut answer = match guard.admit(request).await {
        Ok(request) => {
            operator = request.extensions().get::<Operator>().cloned();
            next.run(request).await
        }
        Err(Refused::Because(refusal)) => refusal.into_response(),
        Err(Refused::SignIn(page)) => dashboard::sign_in(&page),
        Err(Refused::Elsewhere(page)) => dashboard::opened_from_here(&page),
    };
    let end = operator.as_ref().map(|operator| operator.end.clone());
    if wants_page {
        answer = dashboard::refusal_as_page(answer, operator, guard.clock.now());
    }
    guard.finished(answer, end)
}

fn wrong_host() -> Refusal {
    let detail = "Use the address of status.listen, or add this name to status.hosts.";
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail)
}

fn body_too_large() -> Refusal {
    let detail = "A request has at most 65536 bytes after its head.";
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
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
        // A server at another port of this host is another site.
        let fits = match host.filter(|host| host.host().eq_ignore_ascii_case(origin.host())) {
            Some(host) => port(host) == port(&origin),
            None => rules.has_host(origin.host()),
        };
        fits.then_some(())
    };
    site_fits && (!headers.contains_key(header::ORIGIN) || origin_fits().is_some())
}

/// Whether a method may change something.
fn writes(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Whether the body is declared as of this type. Pages of other sites can send JSON only after a preflight, which is refused.
fn is(headers: &HeaderMap, kind: &str) -> bool {
    only(headers, &header::CONTENT_TYPE).is_some_and(|value| {
        let found = value.split(';').next().unwrap_or_default();
        found.trim().eq_ignore_ascii_case(kind)
    })
}

/// Whether somebody has followed a link of another site to a page with an address. It changes nothing and is in no frame.
fn is_visit(headers: &HeaderMap, path: &str) -> bool {
    only(headers, &SEC_FETCH_MODE) == Some("navigate")
        && only(headers, &SEC_FETCH_DEST) == Some("document")
        && !headers.contains_key(header::ORIGIN)
        && dashboard::has_address(path)
}

/// Whether a form was sent by a page of this server. A browser says so in one of these headers at least; the origin was
/// compared already.
fn is_sent_from_here(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        None => headers.contains_key(header::ORIGIN),
    }
}

/// Whether the client shows pages.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("text/html"))
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

/// A body of unknown length that ends with the server, or with the permission of who receives it.
struct Ending {
    body: Body,
    ends: Vec<Pin<Box<WaitForCancellationFutureOwned>>>,
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
            Poll::Pending => {
                let is_over = |end: &mut Pin<Box<WaitForCancellationFutureOwned>>| {
                    end.as_mut().poll(cx).is_ready()
                };
                // Each is polled, so that each wakes.
                match self.ends.iter_mut().map(is_over).fold(false, |a, b| a | b) {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                }
            }
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
