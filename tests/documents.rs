//! The documents: those that are read first are short, links lead somewhere, and they use the words of Vitess's operators, as do
//! help, errors, the log and the page.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of the documents that are read first.
const SIZES: [(&str, u64); 2] = [("README.md", 8000), ("ARCHITECTURE.md", 15_000)];

/// Words that we do not use, and what we say instead: they are no English, or nobody who operates Vitess says so.
const WORDS: [(&str, &str); 14] = [
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("handed on", "forwarded"),
    ("leave it away", "omit it"),
    ("left away", "omitted"),
    ("took up", "reloaded"),
    ("taken up", "reloaded"),
    ("hung up on", "closed the connection of"),
    ("look again", "run the report again"),
    ("older command", "legacy command"),
    ("older commands", "legacy commands"),
    ("somebody else", "another program, client or operation"),
    ("gravest", "worst, or highest"),
];

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

/// The text of string literals in code, without its tests. Literals over several lines are one.
fn literals(code: &str) -> Vec<String> {
    let product = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut chars = product.chars().peekable();
    let (mut found, mut current) = (Vec::new(), None::<String>);
    while let Some(c) = chars.next() {
        match (&mut current, c) {
            (None, '/') if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|c| *c == '\n');
            }
            // a quote as a character of its own
            (None, '\'') if chars.peek() == Some(&'"') => drop(chars.next()),
            (None, '"') => current = Some(String::new()),
            (Some(_), '"') => found.extend(current.take()),
            (Some(text), '\\') => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                _ => text.push(' '),
            },
            (Some(text), c) => text.push(c),
            (None, _) => {}
        }
    }
    found
}

/// Rust files below a folder that are no tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "conformance");
    files.filter(|path| path.extension().is_some_and(|end| end == "rs") && !is_test(path)).collect()
}

/// What people read: documents, texts of the program, comments of flags and of our messages, with the files they are in.
fn texts() -> Vec<(PathBuf, String)> {
    let whole = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    let mut found: Vec<_> = documents().into_iter().map(whole).collect();
    found.extend(["proto/vtmigrated.proto", "docker/prometheus/alerts.yml"].map(|file| whole(root().join(file))));
    for (path, code) in sources(&root().join("src")).into_iter().map(whole) {
        let mut shown = literals(&code).join("\n");
        if path.starts_with(root().join("src/cli")) {
            shown.extend(code.lines().filter_map(|line| line.trim_start().strip_prefix("///")).flat_map(|l| ["\n", l]));
        }
        found.push((path, shown));
    }
    found
}

/// Whether a text has a word, or words, whatever their case. Parts of names do not count.
fn says(text: &str, word: &str) -> bool {
    let inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '{'));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    text.match_indices(word).any(|(at, _)| {
        let after = text[at + word.len()..].chars().next().filter(|c| *c != '.');
        !inner(text[..at].chars().next_back()) && !inner(after)
    })
}

#[test]
fn nothing_is_said_in_words_that_operators_do_not_use() {
    let mut wrong = Vec::new();
    for (path, text) in texts() {
        let said = WORDS.iter().filter(|(word, _)| says(&text, word));
        wrong.extend(said.map(|(word, instead)| format!("{}: {word:?}, say {instead}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    let code = "let a = \"one \\\n    two\"; // \"no\"\nlet b = ['\"', 'x']; f(\"a \\\"b\");\n#[cfg(test)]\nmod tests {\"no\"}";
    assert_eq!(literals(code), ["one two", "a  b"]);
    assert!(says("to\nMend.", "mend") && says("\"it mends\"", "mends"));
    assert!(!says("recommend", "mend") && !says("a finding.mend", "mend") && !says("a_mend", "mend"));
    let here = root().join("README.md");
    assert!(leads_somewhere(&here, "LICENSE") && leads_somewhere(&here, "docs/way-back.md#limits"));
    assert!(!leads_somewhere(&here, "LICENCE.md") && !leads_somewhere(&here, "docs/way-back.md#limit"));
}
