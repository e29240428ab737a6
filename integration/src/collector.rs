//! An OTLP collector in the process, over gRPC or HTTP, that keeps the spans it gets.

pub mod metrics;
mod sink;
mod tree;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span as Wire, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

pub use tree::tree;

/// A span, ids in lower-case hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for roots.
    pub parent: String,
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: &'static str,
    pub start: u64,
    pub end: u64,
    pub is_error: bool,
    pub state: String,
    pub attributes: BTreeMap<String, String>,
    /// Names and their `step`.
    pub events: Vec<(String, String)>,
    /// Attributes of whoever sent it.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The `traceparent` of what the span calls.
    #[must_use]
    pub fn context(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    /// Of the newest request.
    headers: BTreeMap<String, String>,
}

/// A running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Keeper,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Takes OTLP over gRPC on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn grpc() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, kept) = (listener.local_addr()?, Keeper::default());
        let service = TraceServiceServer::new(kept.clone());
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async { serving.await.unwrap_or_default() });
        Ok(Self { address, kept, task })
    }

    /// Takes OTLP over HTTP, in protobuf, on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn http() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, kept) = (listener.local_addr()?, Keeper::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(kept.clone());
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap_or_default() });
        Ok(Self { address, kept, task })
    }

    /// Takes OTLP over gRPC on a free port and throws it away unread, so that it costs the host little.
    ///
    /// # Errors
    /// No port is free.
    pub async fn sink() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = Server::builder().add_service(sink::Sink).serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async { serving.await.unwrap_or_default() });
        Ok(Self { address, kept: Keeper::default(), task })
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The flags that make a server send all its traces here, over gRPC.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        vec![
            "--tracer=opentelemetry".to_owned(),
            "--tracing-sampling-rate=1".to_owned(),
            format!("--otel-endpoint={}", self.address),
            "--otel-insecure".to_owned(),
        ]
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().spans.clone()
    }

    /// Headers of the newest request.
    #[must_use]
    pub fn headers(&self) -> BTreeMap<String, String> {
        self.kept.lock().headers.clone()
    }
}

#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Kept>>);

impl Keeper {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, headers: &HeaderMap, request: ExportTraceServiceRequest) {
        let mut kept = self.lock();
        kept.headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        for group in request.resource_spans {
            let resource = texts(&group.resource.unwrap_or_default().attributes);
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.spans.extend(spans.map(|wire| span(wire, resource.clone())));
        }
    }
}

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.keep(&metadata.into_headers(), request);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn take(State(keeper): State<Keeper>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => {
            keeper.keep(&headers, request);
            (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into_bytes()),
    }
}

fn span(wire: Wire, resource: BTreeMap<String, String>) -> Span {
    let kind = match wire.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        _ => "internal",
    };
    let event = |event: opentelemetry_proto::tonic::trace::v1::span::Event| {
        let step = texts(&event.attributes).remove("step").unwrap_or_default();
        (event.name, step)
    };
    Span {
        kind,
        trace: hex(&wire.trace_id),
        id: hex(&wire.span_id),
        parent: hex(&wire.parent_span_id),
        start: wire.start_time_unix_nano,
        end: wire.end_time_unix_nano,
        is_error: wire.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error),
        state: wire.trace_state,
        attributes: texts(&wire.attributes),
        events: wire.events.into_iter().map(event).collect(),
        name: wire.name,
        resource,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => other.map(|value| format!("{value:?}")).unwrap_or_default(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
