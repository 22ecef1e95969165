//! The one choice of cryptography: rustls with ring.
//!
//! reqwest is built without its own provider and panics when a client is made before one is installed, so every
//! module that makes a client calls [`install_provider`] first. Certificates are checked against the system's roots
//! (rustls-platform-verifier), which on Linux come from the `ca-certificates` package or `SSL_CERT_FILE`.

use std::sync::Once;

/// Installs ring as the process-wide provider of rustls. Any number of calls do the same as one.
pub fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error only says that the process has a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
