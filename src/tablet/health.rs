//! What a tablet says of its own health, as vreplication asks before it streams from it.

use std::time::Duration;

use tonic::{Response, Status};
use vtmigrated_proto::query::{StreamHealthRequest, StreamHealthResponse};
use vtmigrated_proto::queryservice::query_client::QueryClient;
use vtmigrated_proto::topodata::Tablet;

use super::client::Kind;
use super::{Client, Result};

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
    /// No answer within `limit` counts as [`super::Error::Slow`].
    pub async fn health(&self, tablet: &Tablet, limit: Duration) -> Result<StreamHealthResponse> {
        let kind = Kind { service: SERVICE, method: METHOD, limit, changes: false };
        self.over(tablet, kind, |connection| async move {
            let mut stream = QueryClient::new(connection).stream_health(StreamHealthRequest {}).await?.into_inner();
            let first = stream.message().await?;
            first.map(Response::new).ok_or_else(|| Status::unavailable("the health stream ended at once"))
        })
        .await
    }
}
