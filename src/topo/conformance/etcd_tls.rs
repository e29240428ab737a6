//! etcd over TLS both ways, with certificates that are renewed while a connection lives.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::*;
use crate::tls::Files;

/// An authority, and one certificate under it for both sides.
pub fn certificates() -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "zk.test".into()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (authority, certificate, key.serialize_pem())
}

/// Writes `ca.pem`, `cert.pem` and `key.pem` of a new authority.
pub fn renew(dir: &Path) {
    let (authority, certificate, key) = certificates();
    for (name, text) in [("ca.pem", authority), ("cert.pem", certificate), ("key.pem", key)] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// An etcd with TLS. Ends when dropped.
struct SecureEtcd(Child);

impl SecureEtcd {
    /// It asks its clients for a certificate when `both`.
    fn start(data: &Path, pki: &Path, ports: &[ports::Port; 2], both: bool) -> Self {
        let own = |name: &str, file: &str| format!("--{name}={}", pki.join(file).display());
        let client = format!("https://{}", ports[0].address());
        let peer = format!("http://{}", ports[1].address());
        let child = Command::new("etcd")
            .arg(format!("--data-dir={}", data.display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .arg(format!("--listen-peer-urls={peer}"))
            .args([own("cert-file", "cert.pem"), own("key-file", "key.pem")])
            .args(both.then(|| own("trusted-ca-file", "ca.pem")))
            .args(both.then_some("--client-cert-auth"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd must be installed: run integration/setup");
        Self(child)
    }
}

impl Drop for SecureEtcd {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn until_answered(conn: &Arc<dyn Conn>) {
    for _ in 0..1200 {
        if conn.probe().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer over TLS: {:?}", conn.probe().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_over_tls_follows_renewed_certificates() {
    let (data, own, theirs) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = |to: &Path| {
        for file in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::copy(theirs.path().join(file), to.join(file)).unwrap();
        }
    };
    renew(theirs.path());
    copy(own.path());
    let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
    let silent = ports::Port::free().unwrap();
    let server = SecureEtcd::start(data.path(), theirs.path(), &ports, true);
    let file = |name: &str| -> PathBuf { own.path().join(name) };
    let files =
        Files { ca: Some(file("ca.pem")), identity: Some((file("cert.pem"), file("key.pem"))), server_name: None };
    let dialer = Dialer::new(EtcdOptions { tls: Some(files.load().unwrap()) });
    // one of its servers does not run
    let addresses = format!("{},{}", silent.address(), ports[0].address());
    let conn = dialer.open_for(&access::Holder::Own, None, "etcd2", &addresses, "/test/root").await.unwrap();
    until_answered(&conn).await;
    suite(Arc::clone(&conn)).await;
    conn.create("kept", b"1".to_vec()).await.unwrap();
    let plain = Dialer::new(EtcdOptions::default());
    let plain = plain.open("etcd2", &ports[0].address().to_string(), "/test/root").await.unwrap();
    assert!(plain.get("kept").await.unwrap_err().is_unreachable());

    drop(server);
    renew(theirs.path());
    let _server = SecureEtcd::start(data.path(), theirs.path(), &ports, true);
    while tokio::net::TcpStream::connect(ports[0].address()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..5 {
        assert!(conn.probe().await.is_err(), "the new authority is not known yet");
    }
    copy(own.path());
    until_answered(&conn).await;
    assert_eq!(conn.get("kept").await.unwrap().value.as_ref(), b"1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_alone_is_enough_and_https_says_by_itself_that_there_is_tls() {
    let (data, pki) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    renew(pki.path());
    let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
    let _server = SecureEtcd::start(data.path(), pki.path(), &ports, false);
    let files = Files { ca: Some(pki.path().join("ca.pem")), ..Files::default() };
    let dialer = Dialer::new(EtcdOptions { tls: Some(files.load().unwrap()) });
    let address = ports[0].address().to_string();
    for address in [address.clone(), format!("https://{address}")] {
        let conn = dialer.open("etcd2", &address, "/test/root").await.unwrap();
        until_answered(&conn).await;
        conn.write_one(Write::put("a", "1", Expect::Any), None).await.unwrap();
    }
    // without settings: against the authorities of the system, which do not know this one
    let bare = Dialer::new(EtcdOptions::default());
    let conn = bare.open("etcd2", &format!("https://{address}"), "/test/root").await.unwrap();
    let error = conn.get("a").await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("certificate"), "{error}");
    let conn = dialer.open("etcd2", &format!("http://{address}"), "/test/root").await.unwrap();
    assert!(conn.get("a").await.unwrap_err().is_unreachable());
}
