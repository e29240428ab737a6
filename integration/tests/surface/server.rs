//! The program starts, serves, survives a kill, and ends when told to.

use std::{collections::BTreeMap, path::Path, time::Duration};

use integration::{
    client::Vtctld,
    cluster::Cluster,
    life::until,
    ports::Port,
    process::{self, Process, Program},
    server::Server,
};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::timeout;
use tonic::Code;
use vtmigrated_proto::{
    topodata::Keyspace,
    vtctldata::{
        CreateKeyspaceRequest, MountListRequest, MountRegisterRequest, MountShowRequest,
        SetKeyspaceDurabilityPolicyRequest,
    },
};

#[tokio::test]
async fn a_killed_server_finds_its_mounts_again() {
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).without_tablets().start().await.unwrap();
    let target = Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).without_tablets().start().await.unwrap();
    let server = Server::start(&target.topo_flags()).await.unwrap();
    let register = MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server: source.etcd().address(),
        topo_root: "/vitess/global".to_owned(),
        name: "ext1".to_owned(),
    };
    server.client().await.unwrap().mount_register(register).await.unwrap();
    server.kill9().unwrap();
    assert!(server.client().await.is_err());
    server.restart().await.unwrap();
    let mut client = server.client().await.unwrap();
    assert_eq!(client.mount_list(MountListRequest {}).await.unwrap().into_inner().names, ["ext1"]);
    let error = client.mount_show(MountShowRequest { name: "ext2".to_owned() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error:?}");

    let keys = target.etcd().dump("/vitess/global/ExternalClusters").await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(server.term().await.unwrap().success(), "{}", server.process().log_tail());
    target.finish().await.unwrap();
    source.finish().await.unwrap();
}

#[tokio::test]
async fn many_calls_leave_no_file_open_and_little_memory_taken() {
    let server = Server::start::<&str>(&[]).await.unwrap();
    let mut client = server.client().await.unwrap();
    for _ in 0..1_000 {
        client.mount_list(MountListRequest {}).await.unwrap();
    }
    let (files, memory) = (server.open_files().unwrap(), server.resident_bytes().unwrap());
    for _ in 0..10_000 {
        client.mount_list(MountListRequest {}).await.unwrap();
    }
    assert_eq!(server.open_files().unwrap(), files);
    let grown = server.resident_bytes().unwrap().saturating_sub(memory);
    assert!(grown < 5 << 20, "{grown} bytes");
}

#[tokio::test]
async fn half_of_the_topology_flags_is_an_error() {
    let error = Server::start(&["--topo_implementation=etcd2"]).await.unwrap_err().to_string();
    assert!(error.contains("ended by itself"), "{error}");
    assert!(error.contains("topo_global_server_address"), "{error}");
}

/// Writes `ca.pem` of a new authority and, under it, `cert.pem` and `key.pem` for 127.0.0.1.
fn certify(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in [("ca.pem", authority), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// An etcd that speaks TLS, and its `https://` address.
fn etcd_with_tls() -> (Process, String, [Port; 2]) {
    let folder = process::folder("etcd").unwrap();
    certify(folder.path());
    let ports = [Port::free().unwrap(), Port::free().unwrap()];
    let url = format!("https://{}", ports[0].address());
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let args = [
        format!("--data-dir={}", in_folder("data")),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls=http://{}", ports[1].address()),
        format!("--cert-file={}", in_folder("cert.pem")),
        format!("--key-file={}", in_folder("key.pem")),
    ];
    let env = vec![("ETCD_UNSUPPORTED_ARCH".into(), std::env::consts::ARCH.replace("aarch64", "arm64").into())];
    let path = process::installed("bin/etcd").unwrap();
    let program = Program { name: "etcd".to_owned(), path, args: args.map(Into::into).to_vec(), env };
    (Process::start(program, folder).unwrap().watched(), url, ports)
}

#[tokio::test]
async fn an_https_address_without_files_is_checked_against_the_authorities_of_the_system() {
    let (etcd, url, _ports) = etcd_with_tls();
    let strangers = process::folder("pki").unwrap();
    certify(strangers.path());
    let authority = |folder: &Path| folder.join("ca.pem").display().to_string();
    let flags = [
        "--topo_implementation=etcd2",
        "--topo_global_root=/vitess/global",
        &format!("--topo_global_server_address={url}"),
    ];
    let known = authority(etcd.path());
    let server = Server::start_with_environment(&flags, &[("SSL_CERT_FILE", &known)]).await.unwrap();
    let keyspace = CreateKeyspaceRequest { name: "commerce".to_owned(), ..Default::default() };
    server.client().await.unwrap().create_keyspace(keyspace).await.unwrap();
    let other = authority(strangers.path());
    let stranger = Server::start_with_environment::<&str>(&[], &[("SSL_CERT_FILE", &other)]).await.unwrap();
    let register = |name: &str| MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server: url.clone(),
        topo_root: "/vitess/global".to_owned(),
        name: name.to_owned(),
    };
    let error = stranger.client().await.unwrap().mount_register(register("ext1")).await.unwrap_err();
    assert!(error.message().contains("invalid peer certificate"), "{error:?}");
    server.client().await.unwrap().mount_register(register("ext1")).await.unwrap();
}

fn durability(keyspace: &str, policy: &str) -> SetKeyspaceDurabilityPolicyRequest {
    SetKeyspaceDurabilityPolicyRequest { keyspace: keyspace.to_owned(), durability_policy: policy.to_owned() }
}

/// Makes keyspaces and changes them under their locks until the server takes no more calls; what was answered.
async fn load(mut client: Vtctld, caller: usize) -> BTreeMap<String, &'static str> {
    let mut answered = BTreeMap::new();
    for at in 0.. {
        let name = format!("load_{caller}_{at}");
        if client.create_keyspace(CreateKeyspaceRequest { name: name.clone(), ..Default::default() }).await.is_err() {
            break;
        }
        answered.insert(name.clone(), "");
        if client.set_keyspace_durability_policy(durability(&name, "semi_sync")).await.is_err() {
            // it may have been done all the same
            answered.remove(&name);
            break;
        }
        answered.insert(name, "semi_sync");
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_under_load_it_keeps_what_it_answered_and_gives_its_locks_back() {
    let cluster = Cluster::new("zone1").keyspace("customer", &["0"]).without_tablets().start().await.unwrap();
    let server = Server::start(&cluster.topo_flags()).await.unwrap();
    let mut callers = Vec::new();
    for caller in 0..20 {
        callers.push(tokio::spawn(load(server.client().await.unwrap(), caller)));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(server.term().await.unwrap().success(), "{}", server.process().log_tail());
    assert!(!server.process().log_tail().contains("did not finish in time"), "{}", server.process().log_tail());
    let stored = cluster.etcd().dump("/vitess/global/").await.unwrap();
    let mut answers = 0;
    for caller in callers {
        // nobody is left waiting
        for (name, policy) in timeout(Duration::from_secs(30), caller).await.unwrap().unwrap() {
            let record = &stored[&format!("/vitess/global/keyspaces/{name}/Keyspace")];
            assert_eq!(Keyspace::decode(record.as_slice()).unwrap().durability_policy, policy, "{name}");
            answers += 1;
        }
    }
    assert!(answers > 20, "{answers}");
    let locks: Vec<_> = stored.keys().filter(|key| key.contains("/locks/")).collect();
    assert!(locks.is_empty(), "{locks:?}");
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_end_does_not_hold_the_stop_up() {
    let cluster = Cluster::new("zone1").keyspace("customer", &["0"]).without_tablets().start().await.unwrap();
    let mut flags = cluster.topo_flags();
    flags.extend(["--onterm_timeout=1s", "--onclose_timeout=1s", "--topo_etcd_lease_ttl=2"].map(str::to_owned));
    let server = Server::start(&flags).await.unwrap();
    // somebody else's lock, which never ends
    let theirs = "/vitess/global/keyspaces/customer/locks/1";
    cluster.etcd().connect().await.unwrap().put(theirs, "{}", None).await.unwrap();
    let mut client = server.client().await.unwrap();
    let waiting =
        tokio::spawn(async move { client.set_keyspace_durability_policy(durability("customer", "none")).await });
    let locks = async || {
        let stored = cluster.etcd().dump("/vitess/global/").await.unwrap();
        stored.into_keys().filter(|key| key.contains("/locks/")).collect::<Vec<_>>()
    };
    let held = async |count: usize| {
        let locks = locks().await;
        if locks.len() == count { Ok(()) } else { Err(format!("{locks:?}")) }
    };
    until("its place in the queue", async || held(2).await).await.unwrap();
    assert!(server.term().await.unwrap().success(), "{}", server.process().log_tail());
    assert!(timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().is_err());
    until("the end of its lock", async || held(1).await).await.unwrap();
    cluster.etcd().connect().await.unwrap().delete(theirs, None).await.unwrap();
    cluster.finish().await.unwrap();
}
