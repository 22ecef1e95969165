//! Webhooks over TLS.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jobtrackd::core::delivery::{AttemptErrorClass, AttemptResult};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{send, settings, unreachable};
use crate::support::receiver::{Receiver, Reply};

/// A self-signed certificate for 127.0.0.1 with its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/loopback.pem");

/// Serves one connection over TLS; true when a request came through and was answered with 200.
fn tls_server() -> (SocketAddr, JoinHandle<bool>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
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
        let told = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && told.contains("1 passed"),
            "{told}"
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
