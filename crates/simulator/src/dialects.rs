//! The APIs that the simulator serves, each a file below this one and a line in [`DIALECTS`].

mod azure;
mod basiq;
mod google_lro;
mod http_status;
mod json;
mod openai_batch;

use std::fmt;
use std::str::FromStr;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;

use super::api_error::ApiError;
use super::control::Control;
use super::middleware;
use super::oauth;
use super::tokens::Auth;
use super::wire::{Example, Wire};

/// The longest request body, in bytes: 16 MiB, room for a statement.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

#[rustfmt::skip]
static DIALECTS: [Entry; 6] = [
    Entry { name: "basiq", wire: &basiq::Basiq, routes: basiq::routes },
    Entry { name: "http-status", wire: &http_status::HttpStatus, routes: http_status::routes },
    Entry { name: "azure", wire: &azure::Azure, routes: azure::routes },
    Entry { name: "google-lro", wire: &google_lro::GoogleLro, routes: google_lro::routes },
    Entry { name: "openai-batch", wire: &openai_batch::OpenaiBatch, routes: openai_batch::routes },
    Entry { name: "json", wire: &json::Json, routes: json::routes },
];

struct Entry {
    name: &'static str,
    wire: &'static dyn Wire,
    routes: fn() -> Router<Control>,
}

/// An API that the simulator serves; `basiq` by default.
#[derive(Clone, Copy)]
pub struct Dialect(&'static Entry);

/// Not the name of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a dialect of the simulator; there are {}", Dialect::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownDialect;

impl Dialect {
    /// The names of all of them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DIALECTS.iter().map(|entry| entry.name)
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What to type to try it.
    #[must_use]
    pub fn example(self) -> Example {
        self.0.wire.example()
    }

    pub(super) fn wire(self) -> &'static dyn Wire {
        self.0.wire
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self(&DIALECTS[0])
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        let found = DIALECTS.iter().find(|entry| entry.name == name);
        found.map(Self).ok_or(UnknownDialect)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything but the control routes.
pub(super) fn api(control: &Control) -> Router<Control> {
    let Dialect(entry) = control.settings().dialect;
    let own = (entry.routes)();
    let routes = match entry.wire.auth() {
        Auth::Token => own,
        Auth::Key | Auth::Open => own.merge(oauth::routes()),
    };
    routes
        .fallback(async || ApiError::NO_ROUTE)
        .method_not_allowed_fallback(async || ApiError::METHOD)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(from_fn_with_state(control.clone(), middleware::api))
}
