//! Dashboard, alerts and docs/metrics.md name what there is, with the labels that it has.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use config::{Config, File, FileFormat};
use promql_parser::{
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use regex::Regex;
use serde_json::Value;

use super::{full, scrape::Scrape};

/// Labels that Prometheus itself gives every series.
const OF_THE_TARGET: [&str; 2] = ["instance", "job"];

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(repository().join("docker/grafana/dashboards/vtmigrated.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    let config = Config::builder().add_source(File::from_str(&text, FileFormat::Yaml)).build().unwrap();
    config.try_deserialize().unwrap()
}

/// What an expression asks for.
#[derive(Default)]
struct Asked {
    selectors: Vec<VectorSelector>,
    /// Labels in `by (…)` and `on (…)`.
    grouped: BTreeSet<String>,
}

impl ExprVisitor for Asked {
    type Error = ();

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
        let modifier = match expr {
            Expr::VectorSelector(selector) => {
                self.selectors.push(selector.clone());
                None
            }
            Expr::MatrixSelector(selector) => {
                self.selectors.push(selector.vs.clone());
                None
            }
            Expr::Aggregate(aggregate) => aggregate.modifier.as_ref(),
            Expr::Binary(binary) => binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()),
            _ => None,
        };
        if let Some(LabelModifier::Include(labels)) = modifier {
            self.grouped.extend(labels.labels.iter().cloned());
        }
        Ok(true)
    }
}

/// What is wrong with an expression; notes the names that it uses. `labels` are used of its result.
fn check(text: &str, labels: &BTreeSet<String>, scrape: &Scrape, used: &mut BTreeSet<String>) -> Vec<String> {
    let expr = match parser::parse(&text.replace("$__rate_interval", "5m")) {
        Ok(expr) => expr,
        Err(error) => return vec![format!("{text}: {error}")],
    };
    let mut asked = Asked::default();
    walk_expr(&mut asked, &expr).unwrap();
    let mut wrong = Vec::new();
    let mut known: BTreeSet<&str> = OF_THE_TARGET.into();
    for selector in &asked.selectors {
        let name = selector.name.as_deref().unwrap_or_default();
        // Prometheus makes this one
        let found = if name == "up" { Some(BTreeSet::new()) } else { scrape.labels(name) };
        let Some(found) = found else {
            wrong.push(format!("{text}: there is no {name}"));
            continue;
        };
        used.insert(name.to_owned());
        for matcher in &selector.matchers.matchers {
            if !found.contains(matcher.name.as_str()) && !OF_THE_TARGET.contains(&matcher.name.as_str()) {
                wrong.push(format!("{text}: {name} has no label {}", matcher.name));
            }
        }
        known.extend(found);
    }
    let strange = asked.grouped.iter().chain(labels).filter(|label| !known.contains(label.as_str()));
    wrong.extend(strange.map(|label| format!("{text}: nothing in it has a label {label}")));
    wrong
}

/// All texts under a key, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is_and_leave_nothing_of_ours_out() {
    let scrape = Scrape::parse(&full::PAGE);
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    let dashboard = dashboard();
    let mut targets = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            targets += 1;
            let legend = captures(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"].as_str().unwrap());
            wrong.extend(check(target["expr"].as_str().unwrap(), &legend, &scrape, &mut used));
        }
    }
    assert!(targets > 40, "{targets}");
    let mut variables = Vec::new();
    texts(&dashboard["templating"], "definition", &mut variables);
    assert_eq!(variables.len(), 3);
    let form = Regex::new(r"^label_values\((.*), (\w+)\)$").unwrap();
    for variable in variables {
        let parts = form.captures(variable).unwrap();
        wrong.extend(check(&parts[1], &[parts[2].to_owned()].into(), &scrape, &mut used));
    }
    let alerts = yaml("docker/prometheus/alerts.yml");
    for rule in alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        for key in ["summary", "description", "runbook"] {
            assert!(rule["annotations"][key].as_str().is_some_and(|text| !text.is_empty()), "{rule}: {key}");
        }
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        let labels = captures(r"\$labels\.(\w+)", &rule["annotations"].to_string());
        wrong.extend(check(rule["expr"].as_str().unwrap(), &labels, &scrape, &mut used));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let base = |name: &str| used.iter().any(|asked| asked.starts_with(name));
    let unused: Vec<_> = scrape.families.keys().filter(|name| name.starts_with("vtmigrated_") && !base(name)).collect();
    assert!(unused.is_empty(), "neither on the dashboard nor in an alert: {unused:?}");
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let scrape = Scrape::parse("# HELP a A\n# TYPE a gauge\na{x=\"1\"} 1\n");
    let mut used = BTreeSet::new();
    let mut check = |text: &str, label: &str| check(text, &[label.to_owned()].into(), &scrape, &mut used);
    assert!(check("sum by (x, job) (rate(a{x=\"1\", job=\"j\"}[$__rate_interval])) > 1", "x").is_empty());
    assert_eq!(check("a{y=\"1\"}", "x"), ["a{y=\"1\"}: a has no label y"]);
    assert_eq!(check("a + b", "x"), ["a + b: there is no b"]);
    assert_eq!(check("sum by (z) (a)", "x"), ["sum by (z) (a): nothing in it has a label z"]);
    assert_eq!(check("a", "z"), ["a: nothing in it has a label z"]);
    assert_eq!(check("sum(a", "x").len(), 1);
}

#[test]
fn every_alert_is_tried_in_both_directions() {
    let (alerts, tests) = (yaml("docker/prometheus/alerts.yml"), yaml("docker/prometheus/alerts.test.yml"));
    let (mut names, mut fire, mut silent) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    texts(&alerts["groups"], "alert", &mut names);
    for test in tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
        let name = test["alertname"].as_str().unwrap();
        if test["exp_alerts"].is_array() {
            fire.insert(name)
        } else {
            silent.insert(name)
        };
    }
    let names: BTreeSet<&str> = names.into_iter().collect();
    assert!(names.len() > 10);
    assert_eq!(names, fire);
    assert_eq!(names, silent);
}

#[test]
fn the_documents_say_what_to_do_at_every_alert() {
    let alerts = yaml("docker/prometheus/alerts.yml");
    let mut names = Vec::new();
    texts(&alerts["groups"], "alert", &mut names);
    let pages =
        ["docs/metrics.md", "docs/way-back.md"].map(|page| fs::read_to_string(repository().join(page)).unwrap());
    let told = |name: &str| pages.iter().any(|page| page.contains(&format!("\n| {name} | ")));
    let missing: Vec<_> = names.into_iter().filter(|name| !told(name)).collect();
    assert!(missing.is_empty(), "in neither table: {missing:?}");
}

const BEGIN: &str = "<!-- metrics: made by `UPDATE_DOCS=1 cargo test -p integration --test surface metrics::` -->\n";
const END: &str = "<!-- end of metrics -->\n";

#[test]
fn the_documents_list_every_metric() {
    let scrape = Scrape::parse(&full::PAGE);
    let mut table = "| metric | labels | |\n|---|---|---|\n".to_owned();
    for (name, family) in scrape.families.iter().filter(|(name, _)| !name.starts_with("process_")) {
        let labels: BTreeSet<_> = family.samples.iter().flat_map(|sample| sample.labels.keys()).collect();
        let labels: Vec<String> =
            labels.into_iter().filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {} | {} ({}) |", labels.join(" "), family.help, family.kind).unwrap();
    }
    let path = repository().join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("docs/metrics.md has a place for the metrics");
    let (shown, after) = rest.split_once(END).expect("and its end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, table, "run UPDATE_DOCS=1 cargo test -p integration --test surface metrics::");
    }
}
