use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{ArgAction, CommandFactory};

use super::no_effect::{Kind, NO_EFFECT};
use super::parse::{command, normalize};
use super::*;

/// Name and type of each flag of vtctld 22.0.3.
const STOCK: &str = include_str!("vtctld-22.0.3.txt");

/// Flags of other versions of vtctld, before and after.
const OTHER_VERSIONS: &[&str] = &[
    "datadog-trace-debug-mode",
    "grpc-enable-orca-metrics",
    "healthcheck-dial-concurrency",
    "log-format",
    "log-level",
    "log-link",
    "log-structured",
    "logbuflevel",
    "otel-endpoint",
    "otel-insecure",
    "s2a-enable-appengine-dialer",
    "s2a-timeout",
];

fn stock() -> BTreeMap<String, &'static str> {
    let lines = STOCK.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, kind)| (name.replace('_', "-"), kind)).collect()
}

fn args(flags: &[&str]) -> Vec<OsString> {
    std::iter::once("vtctld").chain(flags.iter().copied()).map(OsString::from).collect()
}

fn parse(flags: &[&str]) -> Result<Given, Error> {
    given(args(flags), &Settings::default())
}

fn settings(file: &[(&str, &str)], environment: &[(&str, &str)]) -> Settings {
    let own = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Settings { file: own(file), environment: own(environment) }
}

/// A value that a flag of this type takes.
fn sample(kind: &str, name: &str) -> &'static str {
    match (kind, name) {
        (_, "config-file-not-found-handling") => "warn",
        ("int" | "uint" | "Level" | "severityFlag", _) => "2",
        ("float", _) => "0.5",
        ("duration", _) => "1h0m0s",
        _ => "text",
    }
}

#[test]
fn every_flag_of_stock_is_accepted_in_both_spellings() {
    for (name, kind) in stock() {
        if matches!(name.as_str(), "help" | "version") {
            continue;
        }
        for name in [name.clone(), name.replace('-', "_")] {
            let dashed = name.replace('_', "-");
            let forms: Vec<Vec<String>> = if kind == "bool" {
                ["", "=false"].map(|end| vec![format!("--{name}{end}")]).into()
            } else {
                let value = sample(kind, &dashed);
                vec![vec![format!("--{name}={value}")], vec![format!("--{name}"), value.to_owned()]]
            };
            for form in forms {
                let form: Vec<&str> = form.iter().map(String::as_str).collect();
                let parsed = parse(&form).unwrap_or_else(|error| panic!("{form:?}: {error}"));
                let flag = parsed.flags.iter().find(|flag| flag.name == dashed).unwrap();
                assert_eq!(flag.origin, Origin::CommandLine, "{form:?}");
            }
        }
    }
}

#[test]
fn values_that_stock_refuses_are_refused() {
    for (name, kind) in stock() {
        let bad = match kind {
            "bool" => "maybe",
            "int" | "uint" | "Level" => "x1",
            "float" => "x1",
            "duration" => "15",
            _ => continue,
        };
        let flag = format!("--{name}={bad}");
        assert!(parse(&[&flag]).is_err(), "{flag}");
    }
}

#[test]
fn the_table_of_flags_without_effect_is_part_of_stocks_list() {
    let stock = stock();
    for flag in NO_EFFECT {
        let name = flag.name;
        let kind = match stock.get(name) {
            Some(&"bool") => Kind::Bool,
            Some(&("int" | "uint")) => Kind::Int,
            Some(&"float") => Kind::Float,
            Some(&"duration") => Kind::Duration,
            Some(_) => Kind::Text,
            None => {
                assert!(OTHER_VERSIONS.contains(&name), "{name} is no flag of vtctld");
                continue;
            }
        };
        assert_eq!(flag.kind, kind, "{name}");
    }
    let own = Cli::command();
    for flag in NO_EFFECT {
        let name = flag.name;
        assert!(own.get_arguments().all(|arg| arg.get_long() != Some(name)), "{name} has an effect: take it out");
    }
}

#[test]
fn only_the_groups_for_it_hold_flags_that_stock_does_not_have() {
    let stock = stock();
    let command = command();
    let ours = command.get_arguments().filter(|arg| arg.get_help_heading() != Some("Flags that vtctld does not have"));
    for arg in ours {
        let Some(name) = arg.get_long() else { continue };
        let known = stock.contains_key(name) || OTHER_VERSIONS.contains(&name);
        assert!(known, "{name} belongs to cli/vtmigrated.rs");
        if let Some(kind) = stock.get(name) {
            let takes_none =
                arg.is_require_equals_set() || !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            assert_eq!(takes_none, *kind == "bool", "{name}");
        }
    }
}

#[test]
fn underscores_and_dashes_are_the_same_in_names_only() {
    let given = ["x", "--topo_global_root=/a_b", "--grpc_port", "1_2", "--", "--a_b"];
    let expected = ["x", "--topo-global-root=/a_b", "--grpc-port", "1_2", "--", "--a_b"];
    assert_eq!(normalize(given.map(OsString::from)), expected.map(OsString::from));
}

#[test]
fn the_last_of_equal_flags_counts_and_lists_grow() {
    let flags = ["--grpc_port=1", "--grpc-port", "2", "--service_map=grpc-vtctl", "--service_map", "-grpc-vtctld,x"];
    let cli = parse(&flags).unwrap().cli;
    assert_eq!(cli.grpc.grpc_port, 2);
    assert_eq!(cli.grpc.service_map, ["grpc-vtctl", "-grpc-vtctld", "x"]);
}

#[test]
fn unknown_flags_are_refused_and_near_ones_are_named() {
    for (flag, near) in [("--grpc_prot=1", "--grpc-port"), ("--backup_storage_compres", "--backup-storage-compress")] {
        let error = parse(&[flag]).unwrap_err().to_string();
        assert!(error.contains(near), "{error}");
    }
    let error = parse(&["-grpc_port=1"]).unwrap_err().to_string();
    assert!(error.contains("--grpc_port=1"), "{error}");
    assert!(parse(&["word"]).is_err());
    assert!(parse(&["--topo_global_root", "-port"]).is_ok(), "a value may look like a flag");
}

#[test]
fn the_command_line_wins_then_the_environment_then_the_file() {
    let settings = settings(
        &[("port", "1"), ("grpc-port", "1"), ("onterm-timeout", "1s"), ("service-map", "grpc-vtctl")],
        &[("port", "2"), ("grpc-port", "2"), ("logtostderr", "true")],
    );
    let given = given(args(&["--port=3"]), &settings).unwrap();
    assert_eq!((given.cli.http.port, given.cli.grpc.grpc_port), (3, 2));
    assert_eq!(given.cli.process.onterm_timeout, Duration::from_secs(1));
    assert!(given.cli.log.logtostderr);
    assert_eq!(given.cli.grpc.service_map, ["grpc-vtctl"]);
    let origin = |name: &str| given.flags.iter().find(|flag| flag.name == name).unwrap().origin;
    assert_eq!(origin("port"), Origin::CommandLine);
    assert_eq!(origin("grpc-port"), Origin::Environment);
    assert_eq!(origin("onterm-timeout"), Origin::File);
    assert_eq!(origin("lameduck-period"), Origin::Default);
}

#[test]
fn a_bad_value_from_outside_says_where_it_is_from() {
    let error = given(args(&[]), &settings(&[("port", "x")], &[])).unwrap_err().to_string();
    assert!(error.starts_with("in the configuration file: invalid value 'x' for '--port"), "{error}");
    let error = given(args(&[]), &settings(&[], &[("pprof-http", "x")])).unwrap_err().to_string();
    assert!(error.starts_with("in the environment: invalid value 'x' for '--pprof-http"), "{error}");
}

#[test]
fn the_environment_is_read_by_our_names_and_by_stocks() {
    let variables = BTreeMap::from([("VTMIGRATED_GRPC_PORT", "1"), ("VT_CONFIG_FILE", "/a"), ("VTMIGRATED_BIN", "x")]);
    let found = parse::environment(|name| variables.get(name).map(|value| (*value).to_owned()));
    let expected = [("grpc-port", "1"), ("config-file", "/a")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(found.len(), 2);
    assert!(expected.iter().all(|pair| found.contains(pair)), "{found:?}");
}

/// All flags with an effect as Markdown tables, by the groups of the help.
fn tables() -> String {
    let command = Cli::command();
    let mut groups: Vec<(&str, String)> = Vec::new();
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        let heading = arg.get_help_heading().unwrap_or_default();
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = defaults.join(",");
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('<', "&lt;");
        let row = format!("| `--{name}` | {default} | {help} |\n");
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, rows)) => rows.push_str(&row),
            None => groups.push((heading, row)),
        }
    }
    let table =
        |(heading, rows): &(&str, String)| format!("\n### {heading}\n\n| flag | default | |\n|---|---|---|\n{rows}");
    groups.iter().map(table).collect()
}

#[test]
fn the_documents_list_all_flags() {
    const BEGIN: &str = "<!-- flags: begin; made by `UPDATE_DOCS=1 cargo test --lib flags` -->\n";
    const END: &str = "\n<!-- flags: end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/flags.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = tables();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "docs/flags.md is stale: UPDATE_DOCS=1 cargo test --lib flags");
    }
}
