//! The API we poll: which URL, with which token, how often, and when not at all.
//!
//! [`Upstream`] is the client. Its parts: `job_path` is the template of jobs' paths, `refused` says which URLs are never
//! requested, [`target`] makes the one that is, [`gate`] decides when none is, [`budget`] how many per second; `answers` counts the
//! memory of answers, `authorization` is the header with our secret, in a header that `key_header` permits; `api_error` makes
//! errors fit for people, `oauth_error` reads those of token endpoints; `request` is what is sent, `connections` chooses
//! connections, `http` is the only place where a request and its secret leave, `grant` requests a token and `token` keeps it.
//! `poll`, `relay` and `check` are the client's operations.

mod refused;

mod job_path;

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
pub use job_path::{InvalidJobPath, JobPath};
pub use key_header::{InvalidKeyHeader, KeyHeader};
pub use poll::PollRequest;
pub use refused::RefusedUrl;
pub use relay::{NotRelayed, Relayed};
pub use settings::{Auth, OAuthClient, UpstreamError, UpstreamSettings};
pub use token::TokenError;
