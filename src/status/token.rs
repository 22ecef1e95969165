//! The token that requests must have.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// A token, of which only a hash is kept. A comparison takes the same time whatever is compared.
pub(super) struct Token(Vec<u8>);

impl Token {
    pub(super) fn new(token: &SecretString) -> Self {
        let code = code_of(token.expose_secret()).finalize();
        Self(code.into_bytes().to_vec())
    }

    pub(super) fn is(&self, presented: &str) -> bool {
        code_of(presented).verify_slice(&self.0).is_ok()
    }
}

fn code_of(text: &str) -> Hmac<Sha256> {
    let Ok(mut code) = Hmac::<Sha256>::new_from_slice(b"status.token") else {
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
