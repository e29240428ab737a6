//! The trace that a span belongs to, for lines of the log.

use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// W3C ids in lower-case hexadecimal. A layer that traces puts them into the extensions of each span it samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// 32 digits.
    pub trace: String,
    /// 16 digits.
    pub span: String,
}

/// The ids of the innermost span that has some.
pub fn of<'a, S: LookupSpan<'a>>(span: Option<SpanRef<'a, S>>) -> Option<TraceIds> {
    span?.scope().find_map(|span| span.extensions().get::<TraceIds>().cloned())
}
