//! A request to the upstream, before it is sent.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body_util::Full;
use url::Url;

/// Method, URL, headers and body. The URL is kept as it was checked, and read once more only when the request is sent.
pub(super) struct Request {
    method: Method,
    url: Url,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Request {
    pub(super) fn get(url: Url) -> Self {
        Self::new(Method::GET, url, Bytes::new())
    }

    pub(super) fn post(url: Url, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url, body.into())
    }

    fn new(method: Method, url: Url, body: Bytes) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body,
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// As it is sent; `None` if HTTP cannot have such a URL.
    pub(super) fn into_http(self) -> Option<http::Request<Full<Bytes>>> {
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::try_from(self.url.as_str()).ok()?;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}
