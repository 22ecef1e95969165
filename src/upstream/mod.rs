//! The API we poll: which URL, with which token, how often, and when to leave it alone.
//!
//! [`Upstream`] is the whole of it. Below it, from the pure to the wire: [`target`] decides which URLs are requested at
//! all, [`gate`] when none is, [`budget`] how many per second; `poll` reads the answers, `answers` counts their memory, `token`
//! keeps the token, `grant` asks for one, `said` makes the API's words fit for people, and `http` is the one place where a request and its secret
//! leave.

pub mod target;

pub mod budget;

pub mod gate;

mod check;

mod client;

mod poll;

mod answers;

mod relay;

mod token;

mod grant;

mod said;

mod reading;

mod http;

mod settings;

pub use answers::AnswerMemory;
pub use check::{CheckError, Checked};
pub use client::{Upstream, UpstreamError};
pub use grant::TokenTrouble;
pub use poll::PollRequest;
pub use relay::{NotRelayed, Relayed};
pub use settings::{Auth, UpstreamSettings};
pub use token::TokenError;
