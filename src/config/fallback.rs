//! Settings of the fallback.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::Error;
use super::parts::client_tls;
use crate::cli::FallbackArgs;
use crate::server::fallback::{Credentials, Options};
use crate::server::rpcs::{is_native, natives, shadowable};

/// The form of stock's `--grpc_auth_static_client_creds` file.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsFile {
    username: String,
    password: String,
}

/// `None` when no fallback is named.
///
/// # Errors
/// Flags that need a server without one, files that cannot be read, RPCs that do not exist or that do not only read.
pub(super) fn options(args: FallbackArgs, max_message: usize) -> Result<Option<Options>, Error> {
    // every flag is named here: one that nobody uses does not compile
    let FallbackArgs {
        fallback_vtctld_server: address,
        fallback_vtctld_ca,
        fallback_vtctld_cert,
        fallback_vtctld_key,
        fallback_vtctld_server_name,
        fallback_vtctld_static_client_creds,
        fallback_rpcs,
        shadow_rpcs,
    } = args;
    if address.is_empty() {
        let lonely = [
            ("fallback-vtctld-ca", !fallback_vtctld_ca.is_empty()),
            ("fallback-vtctld-cert", !fallback_vtctld_cert.is_empty()),
            ("fallback-vtctld-key", !fallback_vtctld_key.is_empty()),
            ("fallback-vtctld-server-name", !fallback_vtctld_server_name.is_empty()),
            ("fallback-vtctld-static-client-creds", !fallback_vtctld_static_client_creds.is_empty()),
            ("fallback-rpcs", !fallback_rpcs.is_empty()),
            ("shadow-rpcs", !shadow_rpcs.is_empty()),
        ];
        let given = lonely.into_iter().find(|(_, given)| *given);
        return given.map_or(Ok(None), |(flag, _)| {
            Err(Error::BadValue { flag, detail: "it needs --fallback-vtctld-server".into() })
        });
    }
    if fallback_vtctld_cert.is_empty() != fallback_vtctld_key.is_empty() {
        let detail = "a certificate needs its key, and a key its certificate (--fallback-vtctld-key)".into();
        return Err(Error::BadValue { flag: "fallback-vtctld-cert", detail });
    }
    let files = [fallback_vtctld_ca, fallback_vtctld_cert, fallback_vtctld_key];
    let tls = client_tls("fallback-vtctld", files, fallback_vtctld_server_name)?;
    let credentials = (!fallback_vtctld_static_client_creds.is_empty())
        .then(|| credentials(Path::new(&fallback_vtctld_static_client_creds)))
        .transpose()?;
    let rpcs = names("fallback-rpcs", fallback_rpcs, is_native)?;
    let shadow = match shadow_rpcs.as_slice() {
        [all] if all == "all" => shadowable().filter(|rpc| !rpcs.contains(*rpc)).map(str::to_owned).collect(),
        _ => names("shadow-rpcs", shadow_rpcs, |rpc| shadowable().any(|known| known == rpc))?,
    };
    if let Some(both) = rpcs.intersection(&shadow).next() {
        let detail = format!("{both} is also in --fallback-rpcs");
        return Err(Error::BadValue { flag: "shadow-rpcs", detail });
    }
    Ok(Some(Options { address, tls, credentials, rpcs, shadow, max_message }))
}

/// Names of RPCs, in their own spelling whatever the case of the letters that were typed.
fn names(flag: &'static str, typed: Vec<String>, fits: impl Fn(&str) -> bool) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    for name in typed {
        let name = name.trim();
        let known = natives().find(|rpc| rpc.eq_ignore_ascii_case(name)).filter(|rpc| fits(rpc));
        match known {
            Some(rpc) => found.insert(rpc.to_owned()),
            None => {
                let kind = if flag == "shadow-rpcs" {
                    "an RPC that is served here and only reads"
                } else {
                    "an RPC that is served here"
                };
                return Err(Error::BadValue { flag, detail: format!("{name:?} is not {kind}") });
            }
        };
    }
    Ok(found)
}

fn credentials(path: &Path) -> Result<Credentials, Error> {
    let flag = "fallback-vtctld-static-client-creds";
    let text = std::fs::read(path).map_err(|source| Error::Unreadable { flag, path: path.to_owned(), source })?;
    // what is wrong is not said: it could show a part of the password
    let bad = || Error::BadValue {
        flag,
        detail: format!("{} is not {{\"Username\": …, \"Password\": …}}", path.display()),
    };
    let CredentialsFile { username, password } = serde_json::from_slice(&text).map_err(|_| bad())?;
    Credentials::new(&username, &password).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(server: &str, fallback: &[&str], shadow: &[&str]) -> FallbackArgs {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        FallbackArgs {
            fallback_vtctld_server: server.to_owned(),
            fallback_rpcs: owned(fallback),
            shadow_rpcs: owned(shadow),
            ..FallbackArgs::default()
        }
    }

    #[test]
    fn rpcs_are_named_in_any_case_and_must_fit() {
        let found = options(args("h:1", &["getkeyspaces"], &["MountShow", "getVSchema"]), 16).unwrap().unwrap();
        assert_eq!(found.rpcs, BTreeSet::from(["GetKeyspaces".to_owned()]));
        assert_eq!(found.shadow, BTreeSet::from(["GetVSchema".to_owned(), "MountShow".to_owned()]));
        let all = options(args("h:1", &["GetKeyspaces"], &["all"]), 16).unwrap().unwrap();
        assert!(all.shadow.contains("GetTablets") && !all.shadow.contains("GetKeyspaces"));
        assert!(!all.shadow.contains("MigrateCreate"));
        for (bad, text) in [
            (args("", &["GetKeyspaces"], &[]), "bad value for --fallback-rpcs: it needs --fallback-vtctld-server"),
            (args("", &[], &["all"]), "bad value for --shadow-rpcs: it needs --fallback-vtctld-server"),
            (args("h:1", &["Nope"], &[]), "bad value for --fallback-rpcs: \"Nope\" is not an RPC that is served here"),
            (args("h:1", &[], &["MigrateCreate"]), "bad value for --shadow-rpcs: \"MigrateCreate\" is not an RPC that"),
            (args("h:1", &["GetKeyspaces"], &["GetKeyspaces"]), "bad value for --shadow-rpcs: GetKeyspaces is also in"),
        ] {
            let found = options(bad, 16).unwrap_err().to_string();
            assert!(found.starts_with(text), "{found}");
        }
        assert!(options(args("", &[], &[]), 16).unwrap().is_none());
    }

    #[test]
    fn a_credentials_file_is_not_repeated_in_errors() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"Username": "u", "Password": "secret", }"#).unwrap();
        let error = credentials(file.path()).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        std::fs::write(file.path(), r#"{"Username": "u", "Password": "secret"}"#).unwrap();
        let shown = format!("{:?}", credentials(file.path()).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
