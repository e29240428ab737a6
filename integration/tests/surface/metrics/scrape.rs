//! Prometheus's text form, read.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With `_bucket`, `_sum` and `_count` for histograms.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Samples of one name.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// A whole page.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    pub families: BTreeMap<String, Family>,
}

impl Scrape {
    /// Reads a page; panics at what is not Prometheus's text form.
    pub fn parse(text: &str) -> Self {
        let sample = Regex::new(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$").unwrap();
        let label = Regex::new(r#"([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)""#).unwrap();
        let mut scrape = Self::default();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                family = name.to_owned();
                scrape.families.entry(family.clone()).or_default().help = help.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                family = name.to_owned();
                scrape.families.entry(family.clone()).or_default().kind = kind.to_owned();
            } else {
                let parts = sample.captures(line).unwrap_or_else(|| panic!("no sample: {line}"));
                let labels = parts.get(2).map_or("", |labels| labels.as_str());
                let labels = label.captures_iter(labels).map(|pair| (pair[1].to_owned(), pair[2].to_owned())).collect();
                let value = parts[3].parse().unwrap();
                assert!(parts[1].starts_with(&family), "{line} after {family}");
                let sample = Sample { name: parts[1].to_owned(), labels, value };
                scrape.families.get_mut(&family).unwrap().samples.push(sample);
            }
        }
        scrape
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.values().flat_map(|family| &family.samples)
    }

    /// The value of the first series that has these labels, among others.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        self.samples().filter(|sample| sample.name == name).find(has).map(|sample| sample.value)
    }

    /// Names of the labels of all samples with a name; `None` when there is no such sample.
    pub fn labels(&self, name: &str) -> Option<BTreeSet<&str>> {
        let mut samples = self.samples().filter(|sample| sample.name == name).peekable();
        samples.peek()?;
        Some(samples.flat_map(|sample| sample.labels.keys().map(String::as_str)).collect())
    }
}

#[test]
fn a_page_is_read() {
    let page = "# HELP a Some text\n# TYPE a gauge\na{x=\"1\",y=\"\\\"},{\"} 2\na 3\n# HELP h H\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n";
    let scrape = Scrape::parse(page);
    assert_eq!(scrape.families["a"].samples[0].labels["y"], "\\\"},{");
    assert_eq!((scrape.families["a"].samples[1].value, scrape.families["a"].kind.as_str()), (3.0, "gauge"));
    assert_eq!(scrape.labels("a").unwrap().into_iter().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(scrape.labels("h_bucket").unwrap().len(), 1);
    assert_eq!(scrape.labels("h"), None);
}
