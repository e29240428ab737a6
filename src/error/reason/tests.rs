use std::path::Path;

use super::*;
use crate::error::CHECKS;

/// Holds that the rows of a table of docs/checks.md, below some heading, are these; or writes them.
fn documented(heading: &str, rows: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let at = text.find(&format!("\n## {heading}\n")).unwrap();
    let is_row = |line: &&str| line.starts_with("| `");
    let begin = at + text[at..].find("\n| `").unwrap() + 1;
    let found: Vec<&str> = text[begin..].lines().take_while(is_row).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let rest = &text[begin + found.join("\n").len()..];
        std::fs::write(&path, format!("{}{}{rest}", &text[..begin], rows.join("\n"))).unwrap();
    } else {
        assert_eq!(found, rows, "{heading} of docs/checks.md is stale: UPDATE_DOCS=1 cargo test --lib error::reason");
    }
}

#[test]
fn the_documents_list_all_reasons() {
    let severity = |check: &crate::error::Check| format!("{:?}", check.severity).to_lowercase();
    let checks = CHECKS
        .iter()
        .map(|check| format!("| `{}` | {} | {} | {} |", check.id, check.of, severity(check), check.id.means()));
    documented("All checks", &checks.collect::<Vec<_>>());
    let others = REASONS.iter().map(|reason| format!("| `{reason}` | {} |", reason.means()));
    documented("Other reasons", &others.collect::<Vec<_>>());
}

#[test]
fn reasons_are_words_in_capitals_with_a_meaning() {
    for reason in CHECKS.iter().map(|check| check.id).chain(REASONS.iter().copied()) {
        let is_plain = |c: char| c.is_ascii_uppercase() || c == '_';
        assert!(reason.as_str().chars().all(is_plain) && !reason.means().is_empty(), "{reason}");
    }
}
