//! What Prometheus's own tool says of the page, the configuration and the alerts.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use integration::process::installed;

use super::{full, names::repository};

/// Runs `promtool`; it is an error when the machine has none.
fn promtool(args: &[&str], folder: &Path, input: &str) -> Output {
    let path = installed("bin/promtool").unwrap();
    let mut command = Command::new(path);
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Panics when the page cannot be read, or when a metric that is not stock's is not named as Prometheus asks.
pub fn expect_good_metrics(page: &str) {
    let told = told(&promtool(&["check", "metrics"], Path::new("."), page));
    assert!(!told.contains("error while"), "{told}");
    let ours = told.lines().filter(|line| !line.starts_with("vtctld_"));
    let wrong: Vec<&str> = ours.filter(|line| !line.is_empty()).collect();
    assert!(wrong.is_empty(), "{told}");
}

#[test]
fn metrics_are_named_as_prometheus_asks() {
    expect_good_metrics(&full::PAGE);
}

#[test]
fn the_check_itself_finds_bad_names() {
    let page = "# HELP a_total A\n# TYPE a_total gauge\na_total 1\n";
    assert!(told(&promtool(&["check", "metrics"], Path::new("."), page)).contains("a_total"));
    assert!(told(&promtool(&["check", "metrics"], Path::new("."), "no page")).contains("error while"));
}

#[test]
fn configuration_and_alerts_are_valid_and_fire_when_they_should() {
    let folder = repository().join("docker/prometheus");
    for args in
        [["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]]
    {
        let output = promtool(&args, &folder, "");
        assert!(output.status.success(), "promtool {}: {}", args.join(" "), told(&output));
        assert!(told(&output).contains("SUCCESS"), "{}", told(&output));
    }
}
