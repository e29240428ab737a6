//! Fields of the span of a call that say what the call is about, for traces and the log.

use tracing::Span;

/// A workflow of a target keyspace; empty names are left out.
pub(super) fn workflow(keyspace: &str, workflow: &str) {
    put("vitess.keyspace", keyspace);
    put("vitess.workflow", workflow);
}

/// A mounted cluster.
pub(super) fn mount(name: &str) {
    put("vitess.mount", name);
}

fn put(field: &'static str, value: &str) {
    if !value.is_empty() {
        Span::current().record(field, value);
    }
}
