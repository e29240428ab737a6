//! Traces as text.

use super::Span;

/// Attributes that a line shows, in their order.
const SHOWN: [&str; 9] = [
    "vitess.keyspace",
    "vitess.workflow",
    "vitess.mount",
    "vitess.shard",
    "vitess.tablet.alias",
    "vitess.topo.cell",
    "vitess.topo.path",
    "rpc.response.status_code",
    "error.type",
];

/// One trace as an indented tree: name, kind, begin and duration in milliseconds, attributes; events as lines below.
#[must_use]
pub fn tree(spans: &[Span], trace: &str) -> String {
    let mut spans: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
    spans.sort_by_key(|span| (span.start, span.end));
    let begin = spans.first().map_or(0, |span| span.start);
    let mut text = format!("trace {trace}\n");
    for root in spans.iter().filter(|span| spans.iter().all(|other| other.id != span.parent)) {
        text.push_str(&format!("  caller's span {}\n", if root.parent.is_empty() { "(none)" } else { &root.parent }));
        put(&mut text, &spans, root, begin, 2);
    }
    text
}

fn put(text: &mut String, spans: &[&Span], span: &Span, begin: u64, depth: usize) {
    let indent = "  ".repeat(depth);
    let millis = |nanos: u64| f64::from(u32::try_from(nanos / 1000).unwrap_or(u32::MAX)) / 1000.0;
    let (at, took) = (millis(span.start.saturating_sub(begin)), millis(span.end.saturating_sub(span.start)));
    text.push_str(&format!("{indent}{} [{}] +{at:.1} ms, {took:.1} ms", span.name, span.kind));
    for name in SHOWN {
        let value = span.get(name);
        if !value.is_empty() {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    text.push_str(if span.is_error { " ERROR\n" } else { "\n" });
    for (name, step) in &span.events {
        text.push_str(&format!("{indent}  * {name}: {step}\n"));
    }
    for child in spans.iter().filter(|child| child.parent == span.id) {
        put(text, spans, child, begin, depth + 1);
    }
}
