//! The API we poll: which URL, with which token, how often, and when to leave it alone.
//!
//! [`Upstream`] is the whole of it. Below it, from the pure to the wire: [`target`] decides which URLs are requested at
//! all, [`gate`] when none is, [`budget`] how many per second; `answers` counts the memory of answers, `authorization` is the
//! header with our secret, in a header that `key_header` permits; `api_error` and `oauth_error` read the words of an error,
//! `http` is the one place where a request and its secret leave, `grant` requests a token and `token` keeps it. `poll`,
//! `relay` and `check` are what the client does with them.

pub mod target;

mod settings;

mod pauses;

pub mod gate;

pub mod budget;

mod answers;

mod key_header;

mod authorization;

mod api_error;

mod oauth_error;

mod reading;

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
pub use token::TokenError;
