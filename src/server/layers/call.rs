//! One span per call, and the caller's deadline for everything below it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::deadline;
use crate::guard::listen::Peer;
use crate::telemetry::traces;

/// Opens the span of a call and sets its deadline from `grpc-timeout`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallLayer;

/// The called RPC as `service/Method`, in the extensions of each request.
#[derive(Clone, Debug)]
pub struct Rpc(pub String);

/// A service whose calls have a span and a deadline.
#[derive(Clone, Debug)]
pub struct Call<S> {
    inner: S,
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        Call { inner }
    }
}

impl<S, R, B> Service<http::Request<R>> for Call<S>
where
    S: Service<http::Request<R>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<R>) -> Self::Future {
        let timeout = request.headers().get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(parse_timeout);
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let rpc = Rpc(request.uri().path().trim_start_matches('/').to_owned());
        let trace = traces::Trace::of(request.headers());
        let is_sampled = trace.is_sampled();
        let span = span(&request, is_sampled);
        trace.adopt(&span);
        request.extensions_mut().insert(rpc);
        let answer = deadline::scope(until, self.inner.call(request)).instrument(span.clone());
        let open = traces::Open::new(is_sampled.then_some(span));
        Box::pin(async move {
            let mut response = answer.await?;
            // how it ends is seen by whoever sees the end of its body
            if let Some(span) = open.answered() {
                response.extensions_mut().insert(span);
            }
            Ok(response)
        })
    }
}

/// The span of a call, by OpenTelemetry's conventions; handlers add what it is about. One that is not sampled has what the log
/// tells.
fn span<R>(request: &http::Request<R>, is_sampled: bool) -> Span {
    let method = request.uri().path().trim_start_matches('/');
    if !is_sampled {
        return tracing::info_span!(
            traces::SERVER,
            rpc.method = method,
            vitess.keyspace = Empty,
            vitess.workflow = Empty,
            vitess.mount = Empty,
        );
    }
    let address = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    tracing::info_span!(
        traces::SERVER,
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        client.address = address.map(|address| address.ip().to_string()),
        vitess.keyspace = Empty,
        vitess.workflow = Empty,
        vitess.mount = Empty,
    )
}

/// A `grpc-timeout` value: at most eight digits and a unit.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("3600S"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("99999999H").map(|d| d.as_secs()), Some(99_999_999 * 3600));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "123456789S", "-1S", "1x", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
