//! TLS settings of one webhook: additional authorities, and a client certificate.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::tls::{self, Roots};

/// What one webhook's connections trust and present. Nothing of it is printed: it may hold a private key.
#[derive(Clone, Default)]
pub struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
}

/// A client certificate.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why a PEM file cannot be used. None of the messages holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    /// No certificate in it.
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    /// No certificate, or no private key, or they cannot be read.
    #[error("it is not a certificate with its private key, both in PEM")]
    NoIdentity,
}

impl Trust {
    /// Trusts these authorities, in PEM, in addition to those of the system.
    ///
    /// # Errors
    /// [`InvalidPem::NoCertificate`].
    pub fn add_authorities(&mut self, pem: &[u8]) -> Result<(), InvalidPem> {
        self.authorities = certificates(pem).ok_or(InvalidPem::NoCertificate)?;
        Ok(())
    }

    /// Uses this client certificate, with its chain and private key in PEM.
    ///
    /// # Errors
    /// [`InvalidPem::NoIdentity`].
    pub fn set_identity(&mut self, pem: &Zeroizing<String>) -> Result<(), InvalidPem> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let found = certificates(pem.as_bytes()).zip(key.ok());
        let (chain, key) = found.ok_or(InvalidPem::NoIdentity)?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        Ok(())
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }

    /// The TLS of a client with these settings, and whether it trusts any authority: it does not where the system has none.
    pub(super) fn client_config(&self) -> Result<(ClientConfig, bool), rustls::Error> {
        let (config, trusting) = match tls::client_config(Roots::System(&self.authorities)) {
            Ok(config) => (config, true),
            Err(_) => (tls::client_config(Roots::None)?, false),
        };
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(own) => config.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        };
        Ok((config, trusting))
    }
}

/// All certificates of a text; `None` if it has none, or one that cannot be read.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty())
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}
