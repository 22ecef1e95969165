//! The tokens that requests must have, and the keys of the sessions that are opened with them.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// A token, of which only a hash is kept. A comparison takes the same time whatever is compared.
pub(super) struct Token(Vec<u8>);

/// What the cookies of a token's sessions are signed with. Another token is another key, and ends the sessions.
pub(super) struct SessionKey(Vec<u8>);

impl Token {
    pub(super) fn new(token: &SecretString) -> Self {
        let code = code_of(b"status.token", token.expose_secret()).finalize();
        Self(code.into_bytes().to_vec())
    }

    pub(super) fn is(&self, presented: &str) -> bool {
        code_of(b"status.token", presented)
            .verify_slice(&self.0)
            .is_ok()
    }
}

impl SessionKey {
    pub(super) fn of(token: &SecretString) -> Self {
        let code = code_of(b"status.session", token.expose_secret()).finalize();
        Self(code.into_bytes().to_vec())
    }

    pub(super) fn code(&self, text: &str) -> Vec<u8> {
        code_of(&self.0, text).finalize().into_bytes().to_vec()
    }

    pub(super) fn is(&self, text: &str, code: &[u8]) -> bool {
        code_of(&self.0, text).verify_slice(code).is_ok()
    }
}

fn code_of(key: &[u8], text: &str) -> Hmac<Sha256> {
    let Ok(mut code) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    code.update(text.as_bytes());
    code
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(***)")
    }
}
