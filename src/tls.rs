//! Which cryptography TLS runs on.

/// Installs *ring* as the process's provider for rustls. Calling it again changes nothing.
///
/// Every HTTP client of this program is built without a provider of its own, so each constructor calls this first.
pub fn install_provider() {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
