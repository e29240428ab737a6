//! Holds the layers of `src/workflow`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{root, sources};

/// The modules of `workflow`, each with those of them that it uses. Lowest first: a module uses only what stands above it here, so that
/// there is no circle.
const MAY_USE: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("overrides", &[]),
    ("rows", &[]),
    ("streams", &[]),
    ("tablet_types", &[]),
    ("traffic", &[]),
    ("vdiff_summary", &[]),
    ("findings", &["names"]),
    ("record", &["names", "streams"]),
    ("plan", &["names", "streams", "tablet_types"]),
    ("progress", &["record", "streams"]),
    ("settle", &["vdiff_summary"]),
    (
        "checks",
        &[
            "findings",
            "names",
            "overrides",
            "plan",
            "progress",
            "record",
            "rows",
            "settle",
            "streams",
            "tablet_types",
            "vdiff_summary",
        ],
    ),
    (
        "reads",
        &[
            "checks",
            "findings",
            "names",
            "overrides",
            "plan",
            "progress",
            "record",
            "rows",
            "settle",
            "streams",
            "tablet_types",
            "vdiff_summary",
        ],
    ),
    ("writes", &["overrides", "reads", "record", "rows", "streams"]),
    ("foreign", &["checks", "names", "streams"]),
    ("mount", &["findings", "reads", "record", "streams"]),
    ("show", &["names", "reads", "rows", "streams"]),
    ("readiness", &["checks", "findings", "names", "reads", "record", "rows", "streams", "writes"]),
    ("removal", &["checks", "names", "overrides", "reads", "record", "rows", "streams", "writes"]),
    ("status", &["checks", "findings", "names", "plan", "progress", "reads", "record", "rows", "streams", "traffic"]),
    (
        "way_back",
        &[
            "checks",
            "findings",
            "mount",
            "names",
            "overrides",
            "plan",
            "readiness",
            "reads",
            "record",
            "status",
            "streams",
            "writes",
        ],
    ),
    (
        "migrate",
        &[
            "checks",
            "findings",
            "names",
            "overrides",
            "plan",
            "readiness",
            "reads",
            "record",
            "removal",
            "rows",
            "status",
            "streams",
            "traffic",
            "way_back",
            "writes",
        ],
    ),
    (
        "leftovers",
        &["checks", "findings", "names", "reads", "record", "removal", "rows", "streams", "way_back", "writes"],
    ),
    ("update", &["checks", "leftovers", "names", "overrides", "record", "streams", "writes"]),
];
/// Modules that ask nobody anything.
const PURE: &[&str] =
    &["checks", "findings", "names", "plan", "progress", "rows", "settle", "tablet_types", "traffic", "vdiff_summary"];

#[test]
fn modules_of_workflow_use_only_what_stands_below_them() {
    let mut below = BTreeSet::new();
    for (module, allowed) in MAY_USE {
        let unknown: Vec<_> = allowed.iter().filter(|name| !below.contains(*name)).collect();
        assert!(unknown.is_empty(), "{module} may use {unknown:?}, which do not stand before it in the table");
        below.insert(module);
    }
    let used = edges();
    let mut wrong = Vec::new();
    for (module, edges) in &used {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        for (name, files) in edges.iter().filter(|(name, _)| !allowed.contains(&name.as_str())) {
            wrong.push(format!("{module} uses {name}: {files:?}"));
        }
    }
    assert!(wrong.is_empty(), "against the layers of workflow:\n{}", wrong.join("\n"));
    let is_idle = |module: &str, name: &str| used.get(module).is_none_or(|edges| !edges.contains_key(name));
    for (module, allowed) in MAY_USE {
        let idle: Vec<_> = allowed.iter().filter(|name| is_idle(module, name)).collect();
        assert!(idle.is_empty(), "{module} does not use {idle:?}: take that out of the table");
    }
}

#[test]
fn what_judges_asks_nobody() {
    let workflow = root().join("src/workflow");
    let mut wrong = Vec::new();
    for path in sources(&workflow) {
        let module = module_of(path.strip_prefix(&workflow).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let asks = code.contains("crate::context") || code.contains("async fn");
        if PURE.contains(&module[0].as_str()) && asks && module.last().unwrap() != "tests" {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "reads do that: {wrong:#?}");
}

/// For each module of `workflow` those that it names, with the files in which it does.
fn edges() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let workflow = root().join("src/workflow");
    let files = sources(&workflow);
    let modules: BTreeSet<String> =
        files.iter().map(|path| module_of(path.strip_prefix(&workflow).unwrap()).remove(0)).collect();
    let mut edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for path in &files {
        let relative = path.strip_prefix(&workflow).unwrap();
        let module = module_of(relative);
        let of_module = edges.entry(module[0].clone()).or_default();
        for named in named(&fs::read_to_string(path).unwrap(), &module) {
            // items of `workflow` itself are those of `failure`
            if named != module[0] && (modules.contains(&named) || named == "*") {
                of_module.entry(named).or_default().insert(relative.display().to_string());
            }
        }
    }
    edges
}

/// Where a file stands below `workflow`.
fn module_of(relative: &Path) -> Vec<String> {
    let path = relative.with_extension("");
    path.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
}

/// What a file of a module names of `workflow`, by whatever path: the first part of each below it. `*` where it names all of it.
fn named(text: &str, module: &[String]) -> BTreeSet<String> {
    let mut inside: Vec<(usize, String)> = Vec::new();
    let mut code = String::new();
    let mut starts: Vec<(usize, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap();
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if body == "}" {
            inside.retain(|(outer, _)| *outer != indent);
        }
        let here = module.iter().cloned().chain(inside.iter().map(|(_, name)| name.clone())).collect();
        starts.push((code.len(), here));
        if let Some((_, name)) = body.strip_suffix(" {").and_then(|start| start.split_once("mod "))
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            inside.push((indent, name.to_owned()));
        }
        code.push_str(line);
        code.push('\n');
    }
    let mut found = BTreeSet::new();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            // the middle of `super::super::`, `$crate::`, and `pub(in crate::…)`
            let before = &code[..at];
            if before.ends_with([':', '$', '_']) || before.ends_with(char::is_alphanumeric) || before.ends_with("(in ")
            {
                continue;
            }
            let line = starts.partition_point(|(start, _)| *start <= at) - 1;
            let paths = tree(&mut code[at..].chars().peekable());
            found.extend(paths.iter().filter_map(|path| below_workflow(path, &starts[line].1)));
        }
    }
    found
}

/// The first part of a path below `workflow`; `None` for one that leads elsewhere.
fn below_workflow(path: &[String], here: &[String]) -> Option<String> {
    let mut at: Vec<&str> = std::iter::once("workflow").chain(here.iter().map(String::as_str)).collect();
    for part in path {
        match part.as_str() {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            part => at.push(part),
        }
    }
    match at.as_slice() {
        ["workflow"] => Some("*".to_owned()),
        ["workflow", first, ..] => Some((*first).to_owned()),
        _ => None,
    }
}

/// All paths of a tree such as `a::{b, c::{d as e, self}}`, up to what is no part of it.
fn tree(text: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Vec<Vec<String>> {
    let mut path = Vec::new();
    loop {
        while text.next_if(|c| c.is_whitespace()).is_some() {}
        let mut name = String::new();
        while let Some(c) = text.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '*')) {
            name.push(c);
        }
        if !name.is_empty() {
            path.push(name);
        } else if text.next_if_eq(&'{').is_some() {
            let mut all = Vec::new();
            while text.peek().is_some_and(|c| *c != '}') {
                let inner = tree(text);
                all.extend(inner.into_iter().map(|rest| path.iter().cloned().chain(rest).collect()));
                // ` as name`, and what separates
                while text.next_if(|c| !matches!(c, ',' | '}')).is_some() {}
                text.next_if_eq(&',');
                while text.next_if(|c| c.is_whitespace()).is_some() {}
            }
            text.next();
            return all;
        }
        if text.next_if_eq(&':').is_none() {
            return vec![path];
        }
        text.next_if_eq(&':');
    }
}

#[test]
fn paths_are_read_whatever_their_form() {
    let module = ["migrate".to_owned(), "create".to_owned()];
    let names = |text: &str| named(text, &module).into_iter().collect::<Vec<_>>();
    assert_eq!(
        names("use crate::workflow::{names, record::{self, way_back as back}, streams::Keyspace};"),
        ["names", "record", "streams"]
    );
    assert_eq!(names("use super::super::{\n    names,\n    plan::Sources,\n};"), ["names", "plan"]);
    assert_eq!(
        names("use crate::{topo, workflow::reads};\nlet x = crate::workflow::checks::all();"),
        ["checks", "reads"]
    );
    assert_eq!(
        names("use super::apply;\nmod tests {\n    use super::super::cancel;\n}\nuse super::super::way_back;"),
        ["migrate", "way_back"]
    );
    assert_eq!(names("// crate::workflow::names\nuse crate::topo::{self, paths};"), Vec::<String>::new());
    assert_eq!(names("pub(in crate::workflow) fn f() {}"), Vec::<String>::new());
    assert_eq!(names("use crate::workflow;"), ["*"]);
    assert_eq!(names("use super::super::*;"), ["*"]);
}
