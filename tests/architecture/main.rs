//! Holds the layers of ARCHITECTURE.md, and the size of files and functions.

#![allow(clippy::unwrap_used)]

mod workflow;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vtmigrated::error::{CHECKS, REASONS};

/// What a module of the crate may use of the crate, besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("advise", &["cli", "error"]),
    ("app", &["*"]),
    ("cli", &["config"]),
    ("cluster", &["context", "deadline", "error", "failure", "gtid", "key_range", "sql", "tablet", "topo", "vschema"]),
    (
        "config",
        &["cli", "context", "guard", "server", "tablet", "telemetry", "tls", "topo", "watch", "watched_files", "web"],
    ),
    ("context", &["tablet", "topo"]),
    ("deadline", &[]),
    ("error", &[]),
    ("failpoint", &[]),
    ("failure", &["error", "tablet", "topo", "vschema"]),
    ("gtid", &[]),
    ("guard", &["telemetry", "tls", "watched_files", "write_timeout"]),
    ("health", &["cli", "http_get"]),
    ("host", &[]),
    ("http_get", &[]),
    ("key_range", &[]),
    ("meters", &["telemetry", "watch"]),
    (
        "server",
        &[
            "cluster",
            "context",
            "deadline",
            "error",
            "failure",
            "guard",
            "snappy",
            "tablet",
            "telemetry",
            "tls",
            "topo",
            "vdiff",
            "vschema",
            "workflow",
        ],
    ),
    ("snappy", &[]),
    ("sql", &["error"]),
    ("tablet", &["deadline", "error", "failpoint", "http_get", "snappy", "telemetry", "tls", "topo"]),
    ("telemetry", &["host"]),
    ("tls", &["watched_files"]),
    ("topo", &["deadline", "error", "failpoint", "host", "key_range", "telemetry", "tls"]),
    ("vdiff", &["context", "deadline", "error", "failure", "sql", "tablet", "topo", "workflow"]),
    ("vschema", &["error", "key_range", "sql"]),
    ("watch", &["context", "deadline", "error", "failure", "topo", "vdiff", "workflow"]),
    ("watched_files", &[]),
    ("way_back", &["advise", "cli"]),
    (
        "web",
        &[
            "context",
            "deadline",
            "error",
            "failure",
            "guard",
            "host",
            "telemetry",
            "topo",
            "vdiff",
            "watch",
            "workflow",
            "write_timeout",
        ],
    ),
    ("workflow", &["context", "deadline", "error", "failure", "gtid", "key_range", "sql", "tablet", "topo", "vschema"]),
    ("write_timeout", &[]),
];
const MAX_FILE: usize = 500;
const MAX_FUNCTION: usize = 80;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target" && n != ".integration") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let src = root().join("src");
    let mut wrong = Vec::new();
    for path in sources(&src) {
        let relative = path.strip_prefix(&src).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                // `use crate::{a, b::{c, d}}`: the names at the first level
                Some(list) => first_level(list),
                None => rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).take(1).collect(),
            };
            for name in names {
                if name != module && !allowed.contains(&"*") && !allowed.contains(&name) {
                    wrong.push(format!("{} uses {name}", relative.display()));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "against the layers:\n{}", wrong.join("\n"));
}

fn first_level(list: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names.iter().map(|n| n.trim().split("::").next().unwrap_or_default()).filter(|n| !n.is_empty()).collect()
}

#[test]
fn files_and_functions_are_small() {
    let mut wrong = Vec::new();
    for dir in ["src", "integration", "proto/src", "tests"] {
        for path in sources(&root().join(dir)) {
            let text = fs::read_to_string(&path).unwrap();
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            if text.lines().count() > MAX_FILE {
                wrong.push(format!("{shown} has {} lines", text.lines().count()));
            }
            wrong.extend(
                long_functions(&text)
                    .into_iter()
                    .map(|(line, length)| format!("{shown}:{line} is {length} lines long")),
            );
        }
    }
    assert!(wrong.is_empty(), "too long:\n{}", wrong.join("\n"));
}

/// First line and length of functions past the limit. Formatted code closes a function at the indent it began with.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let is_function = [
            "fn ",
            "pub fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) fn ",
            "pub(crate) async fn ",
            "pub(super) fn ",
            "pub(super) async fn ",
        ]
        .iter()
        .any(|start| body.starts_with(start));
        if !is_function || body.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[at..].iter().position(|l| *l == close) else { continue };
        if length + 1 > MAX_FUNCTION {
            found.push((at + 1, length + 1));
        }
    }
    found
}

/// The regex of the product has no tables of Unicode, that of the tests has them, for others ask for it: a pattern that needs them
/// matches nothing where it matters.
#[test]
fn patterns_need_no_tables_of_unicode() {
    let mut wrong = Vec::new();
    let files = sources(&root().join("src")).into_iter().map(|path| (fs::read_to_string(&path).unwrap(), path));
    for (text, path) in files.filter(|(text, _)| text.contains("regex::Regex")) {
        let product = text.lines().take_while(|line| *line != "#[cfg(test)]");
        let lines = product.zip(1..).filter(|(line, _)| needs_unicode(line));
        wrong.extend(lines.map(|(line, number)| format!("{}:{number}: {}", path.display(), line.trim())));
    }
    assert!(wrong.is_empty(), "say (?-u), or which characters:\n{}", wrong.join("\n"));
}

/// True for a line with a class or a flag of a pattern that means all of Unicode.
fn needs_unicode(line: &str) -> bool {
    let asks = ["\\d", "\\D", "\\s", "\\S", "\\w", "\\W", "\\b", "\\B", "\\p", "\\P", "(?i"];
    asks.iter().any(|asked| line.contains(asked)) && !line.contains("-u")
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert_eq!(first_level("a, b::{c, d}, e};"), ["a", "b", "e"]);
    let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(MAX_FUNCTION));
    assert_eq!(long_functions(&long), [(1, MAX_FUNCTION + 2)]);
    assert!(needs_unicode(r"errno (\d+)") && !needs_unicode(r"(?-u)\butf8") && !needs_unicode("[0-9]"));
}

#[test]
fn the_tests_of_the_threat_table_are_there() {
    let table = fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let code: String = ["src", "tests", "integration/tests"]
        .iter()
        .flat_map(|dir| sources(&root().join(dir)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|line| line.starts_with("| ")).map(|l| l.split('|').collect()).collect();
    assert!(rows.len() > 20);
    for row in &rows[1..] {
        let tests = row[5].split('`').skip(1).step_by(2);
        let mut named = 0;
        for test in tests {
            let at = code.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{test} is nowhere"));
            let attribute = code[..at].rfind("#[").map(|from| &code[from..at]).unwrap_or_default();
            assert!(attribute.contains("test"), "{test} is no test: {attribute}");
            named += 1;
        }
        assert!(named > 0, "{row:?}");
    }
}

#[test]
fn every_reason_is_told_somewhere() {
    let src = root().join("src");
    let lists = [src.join("error/check.rs"), src.join("error/reason.rs")];
    let code: String = sources(&src)
        .into_iter()
        .filter(|path| !lists.contains(path) && !path.ends_with("tests.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let named: BTreeSet<&str> = ["Reason::", "check::"]
        .iter()
        .flat_map(|of| code.match_indices(of).map(|(at, of)| &code[at + of.len()..]))
        .map(|rest| &rest[..rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len())])
        .collect();
    let known = CHECKS.iter().map(|check| check.id).chain(REASONS.iter().copied());
    let idle: Vec<_> = known.filter(|reason| !named.contains(reason.as_str())).collect();
    assert!(idle.is_empty(), "nothing is refused or found with {idle:?}");
}
