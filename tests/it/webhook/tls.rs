//! Webhooks over TLS.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jobtrackd::core::delivery::{AttemptErrorClass, AttemptResult};
use jobtrackd::webhook::{InvalidPem, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{send, settings, unreachable};
use crate::support::hostile::{Receiver, Reply};

/// A self-signed certificate for 127.0.0.1 with its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/loopback.pem");

/// A self-signed certificate of a client, with its key.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/client.pem");

/// Serves one connection over TLS; true when a request came through and was answered with 200.
fn tls_server() -> (SocketAddr, JoinHandle<bool>) {
    tls_server_for(None)
}

/// As [`tls_server`], and if `client` is given, only for those who show that certificate.
fn tls_server_for(client: Option<&str>) -> (SocketAddr, JoinHandle<bool>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_file(client).unwrap();
            roots.add(certificate).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = config
        .with_single_cert(
            vec![CertificateDer::from_pem_file(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_file(CERTIFICATE).unwrap(),
        )
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        let mut first = [0; 4];
        if stream.read_exact(&mut first).is_err() {
            return false;
        }
        assert_eq!(&first, b"POST");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream
            .write_all(answer)
            .and_then(|()| stream.flush())
            .is_ok()
    });
    (address, server)
}

#[tokio::test(start_paused = true)]
async fn a_self_signed_certificate_is_a_tls_error_and_no_request_is_made() {
    let (address, server) = tls_server();
    let report = send(&settings(&format!("https://{address}/hook?token=canary"))).await;
    let (class, detail) = unreachable(report.result);
    assert_eq!(class, AttemptErrorClass::Tls);
    assert_eq!(detail, "invalid peer certificate: UnknownIssuer");
    assert!(!server.join().unwrap());
}

fn pem(path: &str) -> zeroize::Zeroizing<String> {
    std::fs::read_to_string(path).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn an_authority_of_its_own_is_trusted_for_that_webhook() {
    let (address, server) = tls_server();
    let mut webhook = settings(&format!("https://{address}/hook"));
    let trust = &mut webhook.trust;
    trust.add_authorities(pem(CERTIFICATE).as_bytes()).unwrap();
    let report = send(&webhook).await;
    assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
    assert!(server.join().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_a_certificate_is_sent_to_only_with_one() {
    let mut trust = Trust::default();
    trust.add_authorities(pem(CERTIFICATE).as_bytes()).unwrap();
    let mut identified = trust.clone();
    identified.set_identity(&pem(CLIENT)).unwrap();
    for (trust, accepted) in [(identified, true), (trust, false)] {
        let (address, server) = tls_server_for(Some(CLIENT));
        let mut webhook = settings(&format!("https://{address}/hook"));
        webhook.trust = trust;
        let report = send(&webhook).await;
        assert_eq!(server.join().unwrap(), accepted, "{report:?}");
        let delivered = report.result == AttemptResult::Delivered { status: 200 };
        assert_eq!(delivered, accepted, "{report:?}");
    }
}

#[test]
fn what_is_not_pem_is_refused_and_nothing_of_a_key_is_printed() {
    let mut trust = Trust::default();
    for text in ["", "canary", "-----BEGIN CERTIFICATE-----\ncanary"] {
        let refused = trust.add_authorities(text.as_bytes());
        assert_eq!(refused.err(), Some(InvalidPem::NoCertificate), "{text}");
        let refused = trust.set_identity(&text.to_owned().into());
        assert_eq!(refused.err(), Some(InvalidPem::NoIdentity), "{text}");
    }
    trust.set_identity(&pem(CLIENT)).unwrap();
    assert_eq!(
        format!("{trust:?}"),
        "Trust { authorities: 0, identity: true }"
    );
}

/// The system's roots are chosen by the environment, and one process has one environment: the test runs itself again
/// with the certificate as the only root.
#[test]
fn a_certificate_the_system_trusts_is_accepted_for_its_own_host_only() {
    const NAME: &str =
        "webhook::tls::a_certificate_the_system_trusts_is_accepted_for_its_own_host_only";
    if std::env::var_os("SSL_CERT_FILE").as_deref() != Some(CERTIFICATE.as_ref()) {
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("SSL_CERT_FILE", CERTIFICATE)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && output.contains("1 passed"),
            "{output}"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (address, server) = tls_server();
        let report = send(&settings(&format!("https://{address}/hook"))).await;
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
        assert!(server.join().unwrap());

        let (address, server) = tls_server();
        let url = format!("https://localhost:{}/hook", address.port());
        let (class, detail) = unreachable(send(&settings(&url)).await.result);
        assert_eq!(class, AttemptErrorClass::Tls);
        assert!(detail.contains("not valid for name"), "{detail}");
        assert!(!server.join().unwrap());
    });
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_no_tls_is_a_tls_error() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 16];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // What is left of the greeting is read, so that closing is no reset.
            while stream.read(&mut hello).await.is_ok_and(|read| read > 0) {}
        });
        let report = send(&settings(&format!("https://{address}/hook"))).await;
        assert_eq!(
            unreachable(report.result).0,
            AttemptErrorClass::Tls,
            "{answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_is_a_failed_connection_after_five_seconds() {
    let receiver = Receiver::start(Reply::Hang).await;
    let report = send(&settings(&format!("https://{}/hook", receiver.address))).await;
    assert_eq!(
        unreachable(report.result),
        (AttemptErrorClass::Connect, "no connection within 5s".into())
    );
    let limit = Duration::from_secs(5);
    assert!(report.duration >= limit && report.duration <= limit + Duration::from_millis(2));
}
