//! Facts of the build, from the package's build script.

/// The version of Vitess that this program stands in for: that of its messages. Programs around it go by this.
pub const VITESS_VERSION: &str = "24.0.4";
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const HOST: &str = env!("VTMIGRATED_BUILT_HOST");
pub const USER: &str = env!("VTMIGRATED_BUILT_USER");
pub const REVISION: &str = env!("VTMIGRATED_BUILT_REVISION");
pub const BRANCH: &str = env!("VTMIGRATED_BUILT_BRANCH");
/// Such as `rustc 1.95.0 (...)`.
pub const COMPILER: &str = env!("VTMIGRATED_BUILT_COMPILER");

/// Number of the build that `VTMIGRATED_BUILD_NUMBER` gave; 0 when none.
pub fn number() -> i64 {
    env!("VTMIGRATED_BUILT_NUMBER").parse().unwrap_or_default()
}

/// Seconds since the epoch: of the commit, unless `SOURCE_DATE_EPOCH` said otherwise.
pub fn timestamp() -> i64 {
    env!("VTMIGRATED_BUILT_TIME").parse().unwrap_or_default()
}

/// Operating system and processor by Go's names, which tools know.
pub fn platform() -> (&'static str, &'static str) {
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (std::env::consts::OS, processor)
}

/// One line in the form of stock's `vtctld --version`.
pub fn version() -> String {
    let time = jiff::Timestamp::from_second(timestamp()).unwrap_or_default();
    let time = time.strftime("%a %b %e %H:%M:%S UTC %Y");
    let compiler = COMPILER.split(' ').take(2).collect::<Vec<_>>().join("");
    let (system, processor) = platform();
    format!(
        "vtctld version Version: {VITESS_VERSION}-vtmigrated-{VERSION} (Git revision {REVISION} branch '{BRANCH}') \
         built on {time} by {USER}@{HOST} using {compiler} {system}/{processor}"
    )
}
