//! The one choice of cryptography: rustls with ring.
//!
//! Certificates are checked against the system's roots (rustls-platform-verifier), which on Linux come from the
//! `ca-certificates` package or `SSL_CERT_FILE`.

use std::sync::{Arc, Once};

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
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
pub enum Roots<'a> {
    /// Those of the authorities that the system trusts, and of these.
    System(&'a [CertificateDer<'static>]),
    /// None: for clients that never open a TLS connection, on machines without any roots.
    None,
}

/// The TLS of a client, which has only its own certificate left to choose.
///
/// # Errors
/// When there are no usable roots.
pub fn client_config(
    roots: Roots<'_>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    install_provider();
    let config = ClientConfig::builder();
    Ok(match roots {
        Roots::None => config.with_root_certificates(RootCertStore::empty()),
        Roots::System(others) => {
            let provider = Arc::clone(config.crypto_provider());
            let others = others.iter().cloned();
            let verifier = Arc::new(Verifier::new_with_extra_roots(others, provider)?);
            config
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
    })
}
