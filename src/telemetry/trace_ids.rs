//! The trace that a span belongs to, for lines of the log.

use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::traces;

/// W3C ids in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// 32 digits.
    pub trace: String,
    /// 16 digits.
    pub span: String,
}

/// The ids of the call around a span, whether it is sampled or not.
pub fn of<'a, S: LookupSpan<'a>>(span: Option<SpanRef<'a, S>>) -> Option<TraceIds> {
    let ids = traces::ids(span)?;
    Some(TraceIds { trace: ids.trace_id().to_string(), span: ids.span_id().to_string() })
}
