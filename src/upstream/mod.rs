//! The API we poll: which URL, with which token, how often, and when not at all.
//!
//! [`Upstream`] is the client. Its parts: [`target`] decides which URLs may be requested, [`gate`] when none is
//! requested, [`budget`] how many per second; `answers` counts the memory of answers, `authorization` is the header with our
//! secret, in a header that `key_header` permits; `api_error` makes errors fit for people, `oauth_error` reads those of token
//! endpoints; `request` is what is sent, `connections` chooses connections, `http` is the only place where a request and its
//! secret leave, `grant` requests a token and `token` keeps it. `poll`, `relay` and `check` are the client's operations.

pub mod target;

mod settings;

pub mod gate;

pub mod budget;

mod answers;

mod key_header;

mod authorization;

mod api_error;

mod oauth_error;

mod request;

mod reading;

mod connections;

mod http;

mod grant;

mod token;

mod client;

mod poll;

mod relay;

mod check;

pub use answers::AnswerMemory;
pub use check::{CheckError, Checked};
pub use client::Upstream;
pub use grant::TokenTrouble;
pub use key_header::{InvalidKeyHeader, KeyHeader};
pub use poll::PollRequest;
pub use relay::{NotRelayed, Relayed};
pub use settings::{Auth, OAuthClient, UpstreamError, UpstreamSettings};
pub use target::{InvalidJobPath, JobPath};
pub use token::TokenError;
