//! TLS: one way, both ways, optional, revoked, renewed.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;
use tonic::{Code, Status};
use vtmigrated::tablet;
use vtmigrated::tls::Files;
use vtmigrated_proto::vtctldata::GetKeyspacesRequest;
use vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient;

use super::Server;
use crate::support::assert_refused;
use crate::support::pki::{Pki, flag};

async fn answers(server: &Server, tls: Option<tonic::transport::ClientTlsConfig>) -> bool {
    let Ok(channel) = server.endpoint(tls).connect().await else { return false };
    let mut client = VtctldClient::new(channel);
    client.get_keyspaces(GetKeyspacesRequest {}).await.is_ok()
}

#[tokio::test]
async fn with_a_certificate_only_tls_is_spoken_unless_it_is_optional() {
    let pki = Pki::new();
    pki.issue("server", 1);
    let strict = Server::start(&pki.flags()).await;
    assert!(answers(&strict, Some(pki.trusting())).await);
    assert!(!answers(&strict, None).await);
    assert!(!answers(&strict, Some(Pki::new().trusting())).await, "the client trusts another authority");
    let flags = [pki.flags(), vec!["--grpc_enable_optional_tls".into()]].concat();
    let both = Server::start(&flags).await;
    assert!(answers(&both, Some(pki.trusting())).await);
    assert!(answers(&both, None).await);
}

#[tokio::test]
async fn with_an_authority_every_client_shows_a_certificate_that_is_not_revoked() {
    let pki = Pki::new();
    pki.issue("server", 1);
    pki.issue("good", 2);
    pki.issue("lost", 3);
    pki.revoke(3);
    let authority = flag("grpc_ca", pki.path("ca.pem"));
    let flags = [pki.flags(), vec![authority, flag("grpc_crl", pki.path("crl.pem"))]].concat();
    let server = Server::start(&flags).await;
    assert!(answers(&server, Some(pki.showing("good"))).await);
    assert!(!answers(&server, Some(pki.showing("lost"))).await);
    assert!(!answers(&server, Some(pki.trusting())).await);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let pki = Pki::new();
    pki.issue("server", 1);
    let server = Server::start(&pki.flags()).await;
    assert!(answers(&server, Some(pki.trusting())).await);
    // another authority altogether, as when a company changes its own
    let other = Pki::new();
    other.issue("server", 2);
    for file in ["server.key", "server.pem"] {
        std::fs::copy(other.path(file), pki.path(file)).unwrap();
    }
    for _ in 0..100 {
        if answers(&server, Some(other.trusting())).await {
            assert!(!answers(&server, Some(pki.trusting())).await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the renewed certificate was not taken up");
}

#[tokio::test]
async fn half_of_a_certificate_or_a_broken_one_ends_the_start() {
    let pki = Pki::new();
    pki.issue("server", 1);
    let refused = |options: vtmigrated::guard::tls::Options| options.load().err().unwrap().to_string();
    let options = vtmigrated::guard::tls::Options { cert: Some(pki.path("server.pem")), ..Default::default() };
    assert_eq!(refused(options.clone()), "TLS needs both --grpc_cert and --grpc_key");
    let missing = refused(vtmigrated::guard::tls::Options { key: Some(pki.path("no.key")), ..options.clone() });
    assert!(missing.starts_with("cannot read ") && missing.contains("no.key"), "{missing}");
    let swapped = refused(vtmigrated::guard::tls::Options { key: Some(pki.path("server.pem")), ..options });
    assert!(swapped.contains("server.pem contains no usable private key"), "{swapped}");
}

#[tokio::test]
async fn connections_to_tablets_show_the_certificate_that_is_there_now() {
    let (old, new) = (Pki::new(), Pki::new());
    for pki in [&old, &new] {
        pki.issue("server", 1);
        pki.issue("client", 2);
    }
    let files = Files {
        ca: Some(old.path("ca.pem")),
        identity: Some((old.path("client.pem"), old.path("client.key"))),
        server_name: None,
    };
    let options = tablet::Options { tls: Some(files.load().unwrap()), ..tablet::Options::default() };
    let trusted = Arc::clone(&options.trusted);
    let pool = tablet::Pool::new(options);
    let ask = async |pki: &Pki| {
        let flags = [pki.flags(), vec![flag("grpc_ca", pki.path("ca.pem"))]].concat();
        let server = Server::start(&flags).await;
        // a Vtctld behind it, which is as good as a tablet here
        let address = format!("localhost:{}", server.port);
        trusted.add(address.clone());
        let channel = pool.channel(&address).unwrap();
        VtctldClient::new(channel).get_keyspaces(GetKeyspacesRequest {}).await
    };
    ask(&old).await.unwrap();
    assert!(ask(&new).await.is_err(), "the other authority is not known yet");
    for file in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(new.path(file), old.path(file)).unwrap();
    }
    ask(&new).await.unwrap();
}

#[test]
fn a_key_that_does_not_fit_is_refused_by_the_names_of_files() {
    let pki = Pki::new();
    pki.issue("one", 1);
    pki.issue("two", 2);
    let load = |ca: &str, cert: &str, key: &str| {
        let files =
            Files { ca: Some(pki.path(ca)), identity: Some((pki.path(cert), pki.path(key))), server_name: None };
        files.load().err().map(|error| error.to_string())
    };
    assert_eq!(load("ca.pem", "one.pem", "one.key"), None);
    let unfit = load("ca.pem", "one.pem", "two.key").unwrap();
    assert!(unfit.contains("one.pem contains no usable certificate for its key"), "{unfit}");
    let no_key = load("ca.pem", "one.pem", "ca.pem").unwrap();
    assert!(no_key.contains("ca.pem contains no usable private key"), "{no_key}");
    assert!(load("none.pem", "one.pem", "one.key").unwrap().starts_with("cannot read "));
}

/// Shakes hands over a new connection; with a client that begins to speak HTTP/2, so that tickets have come when it ends.
async fn shake(server: &Server, config: &Arc<ClientConfig>) -> std::io::Result<HandshakeKind> {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    stream.read_exact(&mut [0; 9]).await?;
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

/// Asks over one connection until it is refused; answers how.
async fn until_refused(client: &mut VtctldClient<Channel>) -> Status {
    for _ in 0..100 {
        if let Err(refused) = client.get_keyspaces(GetKeyspacesRequest {}).await {
            return refused;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the withdrawn certificate is let in");
}

#[tokio::test]
async fn an_open_connection_does_not_outlive_its_certificate() {
    let pki = Pki::new();
    for (name, serial) in [("server", 1), ("kept", 2), ("lost", 3)] {
        pki.issue(name, serial);
    }
    pki.revoke(99);
    let flags = vec![flag("grpc_ca", pki.path("ca.pem")), flag("grpc_crl", pki.path("crl.pem"))];
    let server = Server::start(&[pki.flags(), flags].concat()).await;
    let (mut kept, mut lost) =
        (server.client(Some(pki.showing("kept"))).await, server.client(Some(pki.showing("lost"))).await);
    for client in [&mut kept, &mut lost] {
        client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    }
    pki.revoke(3);
    let withdrawn = "client certificate not authorized: it was revoked";
    // a new connection would be refused by its handshake, in other words
    assert_refused::<()>(Err(until_refused(&mut lost).await), Code::Unauthenticated, withdrawn);
    kept.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    assert_refused(lost.get_keyspaces(GetKeyspacesRequest {}).await, Code::Unauthenticated, withdrawn);
    // the authority goes, and with it whoever it has signed
    std::fs::copy(Pki::new().path("ca.pem"), pki.path("ca.pem")).unwrap();
    assert_refused::<()>(Err(until_refused(&mut kept).await), Code::Unauthenticated, withdrawn);
}

#[tokio::test]
async fn no_session_outlives_the_revocation_of_its_certificate() {
    let pki = Pki::new();
    pki.issue("server", 1);
    pki.issue("client", 2);
    pki.revoke(99);
    let flags = vec![flag("grpc_ca", pki.path("ca.pem")), flag("grpc_crl", pki.path("crl.pem"))];
    let server = Server::start(&[pki.flags(), flags].concat()).await;
    let identity = Some((pki.path("client.pem"), pki.path("client.key")));
    let files = Files { ca: Some(pki.path("ca.pem")), identity, server_name: None };
    let mut config = ClientConfig::clone(&files.load().unwrap().config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    for _ in 0..3 {
        assert_eq!(shake(&server, &config).await.unwrap(), HandshakeKind::Full, "the certificate is shown each time");
    }
    pki.revoke(2);
    for _ in 0..100 {
        if shake(&server, &config).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the revoked certificate is let in");
}
