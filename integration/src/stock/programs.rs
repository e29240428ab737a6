//! Where Vitess's programs are, and what all of them are started with.

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Error;
use crate::{
    cluster::topology::GLOBAL_ROOT,
    process::{self, Program},
};

/// The user and group of programs that refuse to run as root: Debian's `nobody` and `nogroup`.
const ORDINARY: &str = "65534";

/// One of Vitess's own programs in the version of `integration/stock/go.mod`.
pub(super) fn path(name: &str) -> Result<PathBuf, Error> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("stock/go.mod");
    let text = std::fs::read_to_string(module)?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix("vitess.io/vitess "));
    let version = version.ok_or(Error::NoVersion)?.trim();
    Ok(process::installed(&format!("stock/{version}/bin/{name}"))?)
}

/// A server of Vitess's. If the tests run as root it runs as an ordinary user, who may still read and write what is root's.
pub(super) fn server(name: &str, args: Vec<String>) -> Result<Program, Error> {
    let path = path(name)?;
    let args = args.into_iter().map(OsString::from);
    let env = vec![("USER".into(), "vitess".into()), ("VTDATAROOT".into(), std::env::temp_dir().into_os_string())];
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(Program { name: name.to_owned(), path, args: args.collect(), env });
    }
    // A change of user takes the signal of the parent's death back, so it is asked for again after that.
    let capabilities = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
    let ordinary = ["--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups"];
    let mut all: Vec<OsString> =
        ordinary.iter().chain(&capabilities).chain(&["--pdeathsig", "KILL", "--"]).map(Into::into).collect();
    all.push(path.into_os_string());
    all.extend(args);
    Ok(Program { name: name.to_owned(), path: setpriv()?, args: all, env })
}

/// The flags that name a topology server.
pub(super) fn topo_flags(address: &str) -> Vec<String> {
    vec![
        "--topo-implementation=etcd2".to_owned(),
        format!("--topo-global-server-address={address}"),
        format!("--topo-global-root={GLOBAL_ROOT}"),
    ]
}

fn setpriv() -> Result<PathBuf, Error> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join("setpriv"))
        .find(|path| path.is_file())
        .ok_or(Error::NoSetpriv)
}
