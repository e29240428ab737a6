//! What a tablet says of its own health, as vreplication asks before it streams from it.

use std::time::{Duration, Instant};

use tracing::Instrument;
use vtmigrated_proto::query::{StreamHealthRequest, StreamHealthResponse};
use vtmigrated_proto::queryservice::query_client::QueryClient;
use vtmigrated_proto::topodata::Tablet;

use super::manager::code;
use super::{Client, Error, Result, address, alias};
use crate::deadline;
use crate::telemetry::{grpc_code, metrics, traces};

const SERVICE: &str = "queryservice.Query";
const METHOD: &str = "StreamHealth";

/// True when vreplication would stream from a tablet that says this (Vitess 22.0.3).
pub fn is_serving(health: &StreamHealthResponse) -> bool {
    health.serving && health.realtime_stats.as_ref().is_some_and(|stats| stats.health_error.is_empty())
}

impl Client {
    /// The first message of a tablet's health stream; only that one counts for vreplication.
    ///
    /// # Errors
    /// No answer within `limit` counts as [`Error::Slow`].
    pub async fn health(&self, tablet: &Tablet, limit: Duration) -> Result<StreamHealthResponse> {
        let (alias, address) = (alias(tablet), address(tablet));
        let span = super::manager::span(tablet, SERVICE, METHOD, &alias);
        let channel = self.channel(tablet, METHOD)?;
        let asked = async {
            let mut stream = QueryClient::new(channel).stream_health(StreamHealthRequest {}).await?.into_inner();
            stream.message().await?.ok_or_else(|| tonic::Status::unavailable("the health stream ended at once"))
        };
        let limit = deadline::remaining(limit);
        let start = Instant::now();
        let answer = tokio::time::timeout(limit, asked.instrument(span.clone())).await;
        let code = code(&answer);
        traces::called(&span, code);
        metrics::tablet_call(&format!("{SERVICE}/{METHOD}"), &address, grpc_code::name(code), start.elapsed());
        match answer {
            Ok(Ok(health)) => Ok(health),
            Ok(Err(status)) => Err(self.failure(alias, address, METHOD, &status)),
            Err(_) => Err(Error::Slow { alias, address, method: METHOD, seconds: limit.as_secs() }),
        }
    }
}
