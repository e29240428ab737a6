//! TLS: one way, both ways, optional, revoked, renewed.

use std::time::Duration;

use vtmigrated_proto::vtctldata::GetKeyspacesRequest;

use super::{Pki, Server, flag};

async fn answers(server: &Server, tls: Option<tonic::transport::ClientTlsConfig>) -> bool {
    let Ok(channel) = server.endpoint(tls).connect().await else { return false };
    let mut client = vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient::new(channel);
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
    assert!(swapped.contains("server.pem holds no usable private key"), "{swapped}");
}
