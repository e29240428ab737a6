//! Facts of the build for `--version` and `/debug/vars`. They depend on the commit only, unless the environment says more.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variables = ["HOST", "USER", "NUMBER", "REVISION", "BRANCH"].map(|name| format!("VTMIGRATED_BUILD_{name}"));
    for name in variables.iter().map(String::as_str).chain(["SOURCE_DATE_EPOCH"]) {
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
        ("HOST", told("VTMIGRATED_BUILD_HOST").or_else(|| Some("unknown".into()))),
        ("USER", told("VTMIGRATED_BUILD_USER").or_else(|| Some("unknown".into()))),
        ("NUMBER", told("VTMIGRATED_BUILD_NUMBER")),
        ("TIME", told("SOURCE_DATE_EPOCH").or_else(commit_time)),
        ("REVISION", told("VTMIGRATED_BUILD_REVISION").or_else(|| run("git", &["rev-parse", "HEAD"]))),
        ("BRANCH", told("VTMIGRATED_BUILD_BRANCH").or_else(|| run("git", &["rev-parse", "--abbrev-ref", "HEAD"]))),
        ("COMPILER", compiler),
    ];
    for (name, value) in facts {
        println!("cargo:rustc-env=VTMIGRATED_BUILT_{name}={}", value.unwrap_or_default());
    }
}

/// A variable of the environment; a build argument that was not given is an empty one.
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
