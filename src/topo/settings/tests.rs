use std::io;

use super::*;

fn files(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("/run/password") => Ok(b"planted-file\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

const FILE: &str = r#"{
    "ext1": {"servers": ["a:2379", "b:2379"], "user": "vt", "password_file": "/run/password", "tls": {"server_name": "etcd"}},
    "c:8500": {"consul_token": "planted-token", "plaintext": true},
    "ext2": {"servers": ["z:2181"], "zk_auth": "digest:u:planted"}
}"#;

fn tls(server_name: &str) -> Option<Tls> {
    Some(Files { server_name: Some(server_name.into()), ..Files::default() }.load().unwrap())
}

fn flags() -> Access {
    Access { tls: tls("flag"), ..Access::default() }
}

#[test]
fn settings_are_found_by_mount_and_by_server() {
    let settings = MountSettings::parse(FILE.as_bytes(), &files).unwrap();
    let ext1 = settings.access(Some("ext1"), false, "b:2379, http://a:2379", flags()).unwrap().0;
    assert_eq!(ext1.user, Some(("vt".into(), Secret::new("planted-file"))));
    assert_eq!(ext1.tls, tls("etcd"));
    let consul = settings.access(Some("other"), false, "c:8500", flags()).unwrap().0;
    assert_eq!((consul.token, consul.tls), (Some(Secret::new("planted-token")), None));
    let zk = settings.access(Some("ext2"), true, "z:2181", flags()).unwrap().0;
    assert_eq!(zk.auth, Some(("digest".into(), Secret::new("u:planted"))));
    assert_eq!(zk.tls, flags().tls, "flags stay where an entry says nothing");
    assert_eq!(settings.access(None, false, "unknown:1", flags()).unwrap().0, flags());
}

#[test]
fn credentials_go_to_no_other_server() {
    let settings = MountSettings::parse(FILE.as_bytes(), &files).unwrap();
    let refused = settings.access(Some("ext1"), false, "a:2379,evil:2379", flags()).unwrap_err();
    assert_eq!(refused, Error::WrongServer { mount: "ext1".into(), server: "a:2379,evil:2379".into() });
    // another mount, and an unknown holder, get nothing by the name's entry
    assert_eq!(settings.access(Some("thief"), false, "a:2379", flags()).unwrap().0, flags());
    assert_eq!(settings.access(None, false, "a:2379", flags()).unwrap().0, flags());
    // a cell elsewhere is asked without them
    assert_eq!(settings.access(Some("ext1"), true, "cell:2379", flags()).unwrap().0, flags());
}

#[test]
fn mistakes_are_named_without_values() {
    for (file, text) in [
        ("{", "line 1, column 1: unexpected content"),
        (r#"{"e": {"servers": "planted"}}"#, "unexpected content"),
        (r#"{"e": {"servers": ["a"], "pasword": "planted"}}"#, "unexpected content"),
        (r#"{"e": {"consul_token": "planted"}}"#, "entry e: servers is missing"),
        (r#"{"e:1": {"user": "u"}}"#, "entry e:1: user is given without password"),
        (r#"{"e:1": {"password": "planted"}}"#, "password is given without user"),
        (r#"{"e:1": {"user": "u", "password": "planted", "password_file": "/x"}}"#, "both given"),
        (r#"{"e:1": {"zk_auth": "planted"}}"#, "zk_auth is not <scheme>:<credentials>"),
        (r#"{"e:1": {"consul_token_file": "/gone"}}"#, "consul_token_file /gone: "),
        (r#"{"e:1": {"tls": {"cert": "/run/cert.pem"}}}"#, "tls.cert and tls.key belong together"),
        (r#"{"e:1": {"tls": {"ca": "/gone.pem"}}}"#, "entry e:1: tls: cannot read /gone.pem: "),
        (r#"{"e:1": {"plaintext": true, "tls": {}}}"#, "tls and plaintext are both given"),
    ] {
        let error = MountSettings::parse(file.as_bytes(), &files).unwrap_err();
        assert!(error.contains(text) && !error.contains("planted"), "{file}: {error}");
    }
    let printed = format!("{:?}", MountSettings::parse(FILE.as_bytes(), &files).unwrap());
    assert!(!printed.contains("planted"), "{printed}");
}
