//! What tablets are shown: a TLS server in a tablet's place looks whether the client's certificate comes.

use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use vtmigrated::context::Options;
use vtmigrated::server::router::Router;
use vtmigrated::tablet;
use vtmigrated::tls::Files;
use vtmigrated::topo::settings::MountSettings;
use vtmigrated::topo::{self, Dialer, Expect, Topo, Write, paths};
use vtmigrated_proto::topodata::{CellInfo, Tablet, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::pki::Pki;
use crate::support::{self, Lab};

/// A tablet behind TLS, and which connections showed a certificate.
struct Guarded {
    port: u16,
    shown: Arc<Mutex<Vec<bool>>>,
}

impl Guarded {
    /// A tablet that asks for a certificate; a `strict` one hangs up on clients without.
    async fn start(pki: &Pki, strict: bool) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(pki, strict)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, shown) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<bool>>>::default());
        let (connections, incoming) = tokio::sync::mpsc::unbounded_channel();
        let seen = Arc::clone(&shown);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let accepted = acceptor.accept(stream).await;
                let has_shown = accepted.as_ref().is_ok_and(|io| io.get_ref().1.peer_certificates().is_some());
                seen.lock().unwrap().push(has_shown);
                if let Ok(io) = accepted {
                    connections.send(Ok::<_, std::io::Error>(io)).ok();
                }
            }
        });
        let service = crate::support::manager::service("tls", &Default::default());
        let router = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(router.serve_with_incoming(UnboundedReceiverStream::new(incoming)));
        Self { port, shown }
    }

    /// What the connections since the last time have shown.
    fn taken(&self) -> Vec<bool> {
        std::mem::take(&mut *self.shown.lock().unwrap())
    }

    fn record(&self, cell: &str, uid: u32) -> Tablet {
        support::tablet(cell, uid, "ks", "0", TabletType::Replica, self.port)
    }
}

fn config(pki: &Pki, strict: bool) -> ServerConfig {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.path("ca.pem")).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
    let verifier = if strict { verifier } else { verifier.allow_unauthenticated() };
    let chain = vec![CertificateDer::from_pem_file(pki.path("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pki.path("server.key")).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier.build().unwrap());
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A cluster whose calls to tablets have a certificate to show; its settings name the topology server `named`.
async fn lab(pki: &Pki) -> Lab {
    let identity = Some((pki.path("client.pem"), pki.path("client.key")));
    let files = Files { ca: Some(pki.path("ca.pem")), identity, server_name: Some("localhost".into()) };
    let tablets = tablet::Options { tls: Some(files.load().unwrap()), ..tablet::Options::default() };
    let read = |_: &std::path::Path| Err(std::io::Error::other("no file is named"));
    let mounts = MountSettings::parse(br#"{"named": {"servers": ["named"]}}"#, &read).unwrap();
    let dialer = Dialer::with(topo::Options { mounts, ..topo::Options::default() });
    Lab::wired(Router::default(), Options::default(), dialer, tablets).await.and_cells().await
}

/// Another cluster at the topology server `server`, with these tablets.
async fn cluster(lab: &Lab, server: &str, tablets: &[Tablet]) {
    let topo = Topo::open(Arc::clone(lab.topo.dialer()), "memory", server, "/vitess/global").await.unwrap();
    let write = |path: String, record: Vec<u8>| Write::put(path, record, Expect::Any);
    let cell = CellInfo { server_address: server.into(), root: "/vitess/far".into() };
    let record = prost::Message::encode_to_vec(&cell);
    topo.global().write_one(write(paths::cell_info("far"), record), None).await.unwrap();
    topo.global().write_one(write(paths::keyspace("ks"), Vec::new()), None).await.unwrap();
    let conn = topo.cell("far").await.unwrap();
    for tablet in tablets {
        let record = prost::Message::encode_to_vec(tablet);
        conn.write_one(write(paths::tablet(tablet.alias.as_ref().unwrap()), record), None).await.unwrap();
    }
}

fn mount(name: &str, server: &str) -> MountRegisterRequest {
    let (topo_root, topo_server) = ("/vitess/global".to_owned(), server.to_owned());
    MountRegisterRequest { name: name.into(), topo_type: "memory".into(), topo_server, topo_root }
}

async fn ping(lab: &mut Lab, tablet: &Tablet) {
    lab.client.ping_tablet(PingTabletRequest { tablet_alias: tablet.alias.clone() }).await.unwrap();
}

#[tokio::test]
async fn tablets_see_the_clients_certificate_where_a_setting_or_the_own_cluster_names_them() {
    let pki = Pki::new();
    pki.issue("server", 1);
    pki.issue("client", 2);
    let mut lab = lab(&pki).await;
    let [own, strangers, named, both] = [
        Guarded::start(&pki, true),
        Guarded::start(&pki, false),
        Guarded::start(&pki, true),
        Guarded::start(&pki, false),
    ];
    let (own, strangers, named, both) = tokio::join!(own, strangers, named, both);
    // the own cluster's
    lab.add_tablet(&own.record("zone1", 100)).await;
    ping(&mut lab, &own.record("zone1", 100)).await;
    assert_eq!(own.taken(), [true]);
    // those of whoever registers mounts; one of them says that a tablet of ours is his
    cluster(&lab, "stranger", &[strangers.record("far", 1), both.record("far", 2)]).await;
    lab.client.mount_register(mount("ext1", "stranger")).await.unwrap();
    assert_eq!((strangers.taken(), both.taken()), (vec![false], vec![false]));
    lab.add_tablet(&both.record("zone1", 101)).await;
    ping(&mut lab, &both.record("zone1", 101)).await;
    assert_eq!(both.taken(), [true]);
    // those of a mount that a setting names
    cluster(&lab, "named", &[named.record("far", 1)]).await;
    lab.client.mount_register(mount("named", "named")).await.unwrap();
    assert_eq!(named.taken(), [true]);
    let report = lab.advisor.preflight_mount(mount("named", "named")).await.unwrap().into_inner();
    assert!(!report.findings.iter().any(|finding| finding.id == "TABLET_UNREACHABLE"), "{report:?}");
}

#[tokio::test]
async fn a_mounts_tablet_that_wants_a_certificate_is_told_with_the_setting_that_shows_it() {
    let pki = Pki::new();
    pki.issue("server", 1);
    pki.issue("client", 2);
    let mut lab = lab(&pki).await;
    let strict = Guarded::start(&pki, true).await;
    cluster(&lab, "stranger", &[strict.record("far", 1)]).await;
    let report = lab.advisor.preflight_mount(mount("ext1", "stranger")).await.unwrap().into_inner();
    assert!(!strict.taken().contains(&true));
    let found = report.findings.iter().find(|finding| finding.id == "TABLET_UNREACHABLE").unwrap();
    assert!(found.cause.contains("--mount-settings"), "{found:?}");
}
