//! An OTLP collector that keeps the newest value of each series of metrics.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point::Value},
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::texts;

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// What one request has brought.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Attributes of whoever sent it.
    pub resource: BTreeMap<String, String>,
    /// Units by name.
    pub units: BTreeMap<String, String>,
    /// Series by name; of histograms their counts.
    pub series: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Batch {
    /// The value of the series that has these labels, among others.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |found: &Labels| labels.iter().all(|(name, value)| found.get(*name).is_some_and(|is| is == value));
        self.series.get(name)?.iter().find(|(found, _)| has(found)).map(|(_, value)| *value)
    }
}

#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Vec<Batch>>>);

/// A running collector of metrics. Dropping it ends it.
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
        let service = MetricsServiceServer::new(kept.clone());
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
        let router = Router::new().route("/v1/metrics", post(take)).with_state(kept.clone());
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap_or_default() });
        Ok(Self { address, kept, task })
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The newest request; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<Batch> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Keeper {
    fn keep(&self, request: ExportMetricsServiceRequest) {
        let mut batch = Batch::default();
        for group in request.resource_metrics {
            batch.resource.extend(texts(&group.resource.unwrap_or_default().attributes));
            for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let points = match metric.data {
                    Some(Data::Gauge(gauge)) => numbers(&gauge.data_points),
                    Some(Data::Sum(sum)) => numbers(&sum.data_points),
                    Some(Data::Histogram(histogram)) => {
                        #[allow(clippy::cast_precision_loss, reason = "small counts")]
                        let count = |count: u64| count as f64;
                        histogram.data_points.iter().map(|p| (texts(&p.attributes), count(p.count))).collect()
                    }
                    _ => Vec::new(),
                };
                batch.units.insert(metric.name.clone(), metric.unit);
                batch.series.insert(metric.name, points);
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }
}

fn numbers(points: &[NumberDataPoint]) -> Vec<(Labels, f64)> {
    let number = |point: &NumberDataPoint| match point.value {
        Some(Value::AsDouble(value)) => value,
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        Some(Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    };
    points.iter().map(|point| (texts(&point.attributes), number(point))).collect()
}

#[tonic::async_trait]
impl MetricsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn take(State(keeper): State<Keeper>, body: Bytes) -> (StatusCode, Vec<u8>) {
    match ExportMetricsServiceRequest::decode(body) {
        Ok(request) => {
            keeper.keep(request);
            (StatusCode::OK, ExportMetricsServiceResponse::default().encode_to_vec())
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into_bytes()),
    }
}
