//! TLS settings of one webhook: additional authorities, and a client certificate.

use std::fmt;

use reqwest::{Certificate, ClientBuilder, Identity};
use zeroize::Zeroizing;

/// What one webhook's connections trust and present. Nothing of it is printed: it may hold a private key.
#[derive(Clone, Default)]
pub struct Trust {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
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
        self.authorities = Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or(InvalidPem::NoCertificate)?;
        Ok(())
    }

    /// Uses this client certificate, with its chain and private key in PEM.
    ///
    /// # Errors
    /// [`InvalidPem::NoIdentity`].
    pub fn set_identity(&mut self, pem: &Zeroizing<String>) -> Result<(), InvalidPem> {
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| InvalidPem::NoIdentity)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }

    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = match self.authorities.as_slice() {
            [] => builder,
            authorities => builder.tls_certs_merge(authorities.iter().cloned()),
        };
        match &self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}
