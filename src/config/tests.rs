use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::telemetry::log::Format;

fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, Error> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let args = std::iter::once("vtctld").chain(flags.iter().copied()).map(OsString::from);
    Config::load(args, |name| environment.get(name).map(|value| (*value).to_owned()))
}

fn config(flags: &[&str]) -> Result<Config, Error> {
    load(flags, &[])
}

#[test]
fn no_topology_is_memory_on_loopback_and_half_of_one_is_refused() {
    let trying = config(&[]).unwrap();
    assert!(trying.trying_out);
    assert_eq!(trying.grpc_address, Address { host: "127.0.0.1".into(), port: 15999 });
    let half = config(&["--topo-implementation", "etcd2"]).unwrap_err().to_string();
    let text = "--topo_implementation is set, but not --topo_global_server_address and --topo_global_root";
    assert!(half.starts_with(text), "{half}");
}

#[test]
fn services_follow_the_service_map() {
    let services = |map: &str| config(&["--service-map", map]).unwrap().server.services;
    let both = config(&[]).unwrap().server.services;
    assert!(both.vtctld && both.vtctl);
    assert_eq!(services("grpc-vtctl,grpc-vtctld"), both);
    assert!(!services("grpc-vtctl").vtctld);
    assert!(services("-grpc-vtctl").vtctld);
    assert!(!services("-grpc-vtctl").vtctl);
}

#[test]
fn the_flags_of_vitess_operator_are_accepted() {
    let flags = [
        "--cell=zone1",
        "--port=15000",
        "--grpc_port=15999",
        "--service_map=grpc-vtctl,grpc-vtctld",
        "--topo_implementation=etcd2",
        "--topo_global_server_address=localhost:2379",
        "--topo_global_root=/vitess/global",
        "--logtostderr=true",
        "--mysql_server_version=8.0.40-Vitess",
        "--backup_storage_implementation=file",
        "--file_backup_storage_root=/vt/backups",
        "--tablet_manager_grpc_ca=",
    ];
    let config = config(&flags).unwrap();
    assert_eq!(config.grpc_address, Address { host: String::new(), port: 15999 });
    assert_eq!(config.cell, "zone1");
    let named = "--backup-storage-implementation, --file-backup-storage-root, --mysql-server-version";
    assert_eq!(config.notes, [format!("these flags of vtctld are accepted and have no effect: {named}")]);
}

#[test]
fn what_would_leave_the_server_unprotected_is_refused() {
    let refused = |flag: &str| config(&[flag]).unwrap_err().to_string();
    let error = refused("--tablet_manager_grpc_crl=/etc/revoked.pem");
    assert!(error.starts_with("--tablet-manager-grpc-crl is not supported"), "{error}");
    assert!(refused("--grpc_auth_mode=static").contains("static needs --grpc_auth_static_password_file"));
    assert!(refused("--grpc_auth_mode=ldap").contains("ldap: it must be static or mtls"));
    assert!(config(&["--grpc_auth_mode="]).is_ok());
}

#[test]
fn an_authority_alone_switches_tls_on_and_one_that_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec!["authority".into()]).unwrap();
    fs::write(&path, made.cert.pem()).unwrap();
    let with = |flag: &str| config(&[&format!("--{flag}={}", path.display())]);
    let etcd = with("topo_etcd_tls_ca").unwrap().topologies.etcd.tls.unwrap();
    assert!(!etcd.has_identity());
    assert!(with("topo_zk_tls_ca").unwrap().topologies.zookeeper.tls.is_some());
    assert!(with("tablet_manager_grpc_ca").unwrap().tablet.tls.is_some());
    assert!(config(&[]).unwrap().topologies.etcd.tls.is_none());
    fs::write(&path, "no certificate").unwrap();
    for flag in ["topo_etcd_tls_ca", "topo_zk_tls_ca", "tablet_manager_grpc_ca"] {
        let error = with(flag).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--{flag}, ")) && error.contains("ca.pem"), "{error}");
    }
}

#[test]
fn other_protocols_are_refused() {
    let error = config(&["--tablet_manager_protocol=grpc-oneshot"]).unwrap_err().to_string();
    assert!(error.contains("grpc is the only protocol"), "{error}");
    assert!(config(&["--grpc_compression=gzip"]).is_err());
}

#[test]
fn gos_largest_duration_means_never() {
    assert_eq!(config(&[]).unwrap().server.max_connection_age, None);
    let age = config(&["--grpc_max_connection_age=1h0m0s"]).unwrap().server.max_connection_age;
    assert_eq!(age, Some(Duration::from_secs(3600)));
}

#[test]
fn files_of_three_forms_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        (
            "a.yaml",
            "grpc_port: 1\nlog-dir: /x\nservice_map:\n  - grpc-vtctl\n  - grpc-vtctld\ntracing-sampling-type: const\n",
        ),
        (
            "a.json",
            r#"{"grpc_port": 1, "log-dir": "/x", "service_map": ["grpc-vtctl", "grpc-vtctld"], "tracing-sampling-type": "const"}"#,
        ),
        (
            "a.toml",
            "grpc_port = 1\nlog-dir = '/x'\nservice_map = ['grpc-vtctl', 'grpc-vtctld']\ntrace.jaeger.sampling_type = 'const'\n",
        ),
    ];
    for (name, text) in texts {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let flag = format!("--config-file={}", path.display());
        let config = config(&[&flag]).unwrap();
        assert_eq!(config.grpc_address.port, 1, "{name}");
        assert_eq!(config.log.folder.unwrap().display().to_string(), "/x", "{name}");
        assert!(config.server.services.vtctl, "{name}");
        assert!(
            config.notes.iter().any(|note| note.ends_with("no effect: --tracing-sampling-type")),
            "{:?}",
            config.notes
        );
    }
}

#[test]
fn the_file_gives_way_to_the_environment_and_both_to_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.yaml"), "port: 1\ngrpc_port: 1\ncell: one\nnovel: x\n").unwrap();
    let path = folder.path().display().to_string();
    let environment = [("VT_CONFIG_PATH", path.as_str()), ("VTMIGRATED_GRPC_PORT", "2"), ("VTMIGRATED_PORT", "2")];
    let config = load(&["--config-name=mine", "--port=3"], &environment).unwrap();
    assert_eq!(config.http_address.unwrap().port, 3);
    assert_eq!(config.grpc_address.port, 2);
    assert_eq!(config.cell, "one");
    assert!(config.notes.contains(&"these keys of the config file are not flags of vtctld: novel".to_owned()));
}

#[test]
fn a_missing_file_is_what_the_flag_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("--config-file={}", folder.path().join("none.yaml").display());
    assert!(config(&[&file]).unwrap().notes[0].contains("not found"));
    assert!(config(&[&file, "--config-file-not-found-handling=ignore"]).unwrap().notes.is_empty());
    for what in ["error", "exit"] {
        let error = config(&[&file, &format!("--config-file-not-found-handling={what}")]).unwrap_err();
        assert!(matches!(error, Error::NoFile { .. }), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.json", "{"), ("a.ini", "port=1"), ("a.yaml", "port: many")] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let error = config(&[&format!("--config-file={}", path.display())]).unwrap_err();
        assert!(!error.is_answer(), "{error}");
    }
}

#[test]
fn help_and_version_are_answers() {
    for flag in ["--help", "-h", "--version", "-v"] {
        let answer = config(&[flag]).unwrap_err();
        assert!(answer.is_answer(), "{answer}");
    }
    let version = config(&["--version"]).unwrap_err().to_string();
    assert!(version.starts_with("vtctld version Version: 24.0.4"), "{version}");
}

#[test]
fn the_form_of_the_log_follows_both_flags() {
    let format = |flags: &[&str]| config(flags).unwrap().log.format;
    assert_eq!(format(&[]), Format::Glog);
    assert_eq!(format(&["--log-structured"]), Format::Json);
    assert_eq!(format(&["--log-structured=false"]), Format::Glog);
    assert_eq!(format(&["--log_structured=true", "--log-format=text"]), Format::Glog);
    assert_eq!(format(&["--log-format=json"]), Format::Json);
    let bad = config(&["--log-format=xml"]).unwrap_err().to_string();
    assert!(bad.contains("xml: it must be glog or json"), "{bad}");
}

#[test]
fn tablets_are_told_whom_to_follow_unless_somebody_else_does() {
    assert!(!config(&[]).unwrap().operations.disable_active_reparents);
    assert!(config(&["--disable_active_reparents"]).unwrap().operations.disable_active_reparents);
    assert!(!config(&["--disable-active-reparents=false"]).unwrap().operations.disable_active_reparents);
}
