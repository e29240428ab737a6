//! Where Vitess's programs are, and what all of them are started with.

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Error;
use crate::{
    cluster::topology::GLOBAL_ROOT,
    mysqld::Release,
    process::{self, Process, Program},
};

/// The user and group of programs that refuse to run as root: Debian's `nobody` and `nogroup`.
const ORDINARY: &str = "65534";

/// A generation of Vitess of which `integration/setup` builds programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// The oldest that is supported: `integration/stock/22`.
    V22,
    /// The one that most tests run on: `integration/stock`.
    #[default]
    V24,
}

impl Generation {
    /// Two of them, as `22:24`.
    pub(super) fn two(text: &str) -> Option<(Self, Self)> {
        let one = |text: &str| match text {
            "22" => Some(Self::V22),
            "24" => Some(Self::V24),
            _ => None,
        };
        let (first, second) = text.split_once(':')?;
        Some((one(first)?, one(second)?))
    }

    /// The MySQL server beside its tablets, when a test names none: 22 came before the newest.
    pub(super) fn mysql(self) -> Release {
        match self {
            Self::V22 => Release::V8,
            Self::V24 => Release::V9,
        }
    }

    /// Flags are given in today's spelling; 22 knows most of them with underscores only, and no `--log-format`.
    fn spell(self, flags: Vec<String>) -> Vec<String> {
        if self == Self::V24 {
            return flags;
        }
        let both = |name: &str| ["--tablet-path", "--bind-address"].contains(&name);
        let spell = |flag: String| match flag.split_once('=') {
            Some((name, value)) if !both(name) => format!("--{}={value}", name[2..].replace('-', "_")),
            _ => flag,
        };
        flags.into_iter().filter(|flag| !flag.starts_with("--log-format")).map(spell).collect()
    }

    /// One of its programs, in the version that its module asks for.
    pub(super) fn path(self, name: &str) -> Result<PathBuf, Error> {
        let module = match self {
            Self::V22 => "stock/22/go.mod",
            Self::V24 => "stock/go.mod",
        };
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(module))?;
        let mut lines = text.lines().map(|line| line.trim().trim_start_matches("require "));
        let version = lines.find_map(|line| line.strip_prefix("vitess.io/vitess "));
        let version = version.ok_or(Error::NoVersion(module))?.trim();
        Ok(process::installed(&format!("stock/{version}/bin/{name}"))?)
    }
}

/// Starts a server of Vitess's, and watches it.
pub(super) fn start(generation: Generation, name: &str, args: Vec<String>) -> Result<Process, Error> {
    let program = server(generation, name, generation.spell(args))?;
    Ok(Process::start(program, process::folder(name)?)?.watched())
}

/// A server of Vitess's with flags as its generation spells them. If the tests run as root it runs as an ordinary user, who may
/// still read and write what is root's.
pub(super) fn server(generation: Generation, name: &str, args: Vec<String>) -> Result<Program, Error> {
    let path = generation.path(name)?;
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
