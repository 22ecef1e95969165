//! The one choice of cryptography: rustls with ring.
//!
//! reqwest is built without its own provider and panics when a client is made before one is installed, so every
//! module that makes a client calls [`install_provider`] first. Certificates are checked against the system's roots
//! (rustls-platform-verifier), which on Linux come from the `ca-certificates` package or `SSL_CERT_FILE`.

use std::sync::{Arc, Once};

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;

/// Installs ring as the process-wide provider of rustls. Any number of calls do the same as one.
pub fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error only says that the process has a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Which certificates a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Those that the system trusts.
    System,
    /// None: for clients that never open a TLS connection, on machines without any roots.
    None,
}

/// The TLS of a client without a certificate of its own.
///
/// # Errors
/// When the system has no usable roots.
pub fn client_config(roots: Roots) -> Result<ClientConfig, rustls::Error> {
    install_provider();
    let config: ConfigBuilder<ClientConfig, WantsVerifier> = ClientConfig::builder();
    let config = match roots {
        Roots::None => config.with_root_certificates(RootCertStore::empty()),
        Roots::System => {
            let provider = Arc::clone(config.crypto_provider());
            let verifier = Arc::new(Verifier::new(provider)?);
            config
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
    };
    Ok(config.with_no_client_auth())
}
