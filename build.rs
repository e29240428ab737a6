//! Facts of the build for `--version` and `/debug/vars`. They depend on the commit only, unless the environment says more.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["SOURCE_DATE_EPOCH", "VTMIGRATED_BUILD_HOST", "VTMIGRATED_BUILD_USER", "VTMIGRATED_BUILD_NUMBER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    // a build for trying out keeps the commit it was first made from
    if std::env::var("PROFILE").as_deref() == Ok("release")
        && let Some(log) = run("git", &["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit_time = || run("git", &["log", "-1", "--format=%ct"]);
    let compiler = std::env::var("RUSTC").ok().and_then(|rustc| run(&rustc, &["--version"]));
    let facts = [
        ("HOST", Some(std::env::var("VTMIGRATED_BUILD_HOST").unwrap_or_else(|_| "unknown".into()))),
        ("USER", Some(std::env::var("VTMIGRATED_BUILD_USER").unwrap_or_else(|_| "unknown".into()))),
        ("NUMBER", std::env::var("VTMIGRATED_BUILD_NUMBER").ok()),
        ("TIME", std::env::var("SOURCE_DATE_EPOCH").ok().or_else(commit_time)),
        ("REVISION", run("git", &["rev-parse", "HEAD"])),
        ("BRANCH", run("git", &["rev-parse", "--abbrev-ref", "HEAD"])),
        ("COMPILER", compiler),
    ];
    for (name, value) in facts {
        println!("cargo:rustc-env=VTMIGRATED_BUILT_{name}={}", value.unwrap_or_default());
    }
}

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
