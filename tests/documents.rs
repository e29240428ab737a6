//! The documents: those that are read first are short, and links lead somewhere.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of the documents that are read first.
const SIZES: [(&str, u64); 2] = [("README.md", 8000), ("ARCHITECTURE.md", 15_000)];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All documents of the repository, ascending in each folder.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/architecture", "docker", "proto"] {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
        files.sort();
        found.extend(files);
    }
    found
}

/// The lines outside of fenced code.
fn prose(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines
}

/// Where the links of a line lead.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).collect()
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    if anchor.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor))
}

#[test]
fn links_lead_somewhere() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let all = prose(&text).into_iter().flat_map(links);
        for link in all.filter(|link| !link.contains("://")) {
            seen += 1;
            if !leads_somewhere(&document, link) {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 50, "{seen}");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_read_first_is_short() {
    for (name, most) in SIZES {
        let bytes = fs::metadata(root().join(name)).unwrap().len();
        assert!(bytes <= most, "{name} has {bytes} bytes: move what is for one kind of reader into docs/");
    }
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert_eq!(links("a [b](c.md#d), [e](f) and `g`"), ["c.md#d", "f"]);
    assert_eq!(prose("a\n```sh\n# b\n```\nc"), ["a", "c"]);
    assert_eq!(slug(" In vtctld's place, and back"), "in-vtctlds-place-and-back");
    let here = root().join("README.md");
    assert!(leads_somewhere(&here, "LICENSE") && leads_somewhere(&here, "docs/way-back.md#limits"));
    assert!(!leads_somewhere(&here, "LICENCE.md") && !leads_somewhere(&here, "docs/way-back.md#limit"));
}
