//! The query service of the source tablet, as a stream uses it.

use std::{collections::HashMap, time::Duration};

use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use vtmigrated_proto::{
    binlogdata::{Filter, VStreamOptions, VStreamRequest, VStreamResponse, VStreamRowsRequest, VStreamRowsResponse},
    query::{QueryResult, StreamHealthRequest, StreamHealthResponse, Target},
    queryservice::query_client::QueryClient,
    topodata::Tablet,
};

use super::error::{Error, Result};

/// A connection to one tablet.
#[derive(Clone, Debug)]
pub struct SourceTablet {
    client: QueryClient<Channel>,
    target: Target,
    options: Option<VStreamOptions>,
}

impl SourceTablet {
    /// Dials the tablet's gRPC port; fails at once when nobody listens.
    ///
    /// # Errors
    /// UNAVAILABLE, in the words of stock's client.
    pub async fn dial(tablet: &Tablet) -> Result<Self> {
        let port = tablet.port_map.get("grpc").copied().unwrap_or_default();
        let address = format!("{}:{port}", tablet.hostname);
        let unavailable = |why: &dyn std::fmt::Display| {
            Error::from_tablet(&tonic::Status::unavailable(format!(
                "connection error: desc = \"transport: Error while dialing: dial tcp {address}: {why}\""
            )))
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unavailable(&error))?
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10));
        let channel = endpoint.connect().await.map_err(|error| unavailable(&innermost(&error)))?;
        let client =
            QueryClient::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
        let target = Target {
            keyspace: tablet.keyspace.clone(),
            shard: tablet.shard.clone(),
            tablet_type: tablet.r#type,
            ..Target::default()
        };
        Ok(Self { client, target, options: None })
    }

    /// Sends the workflow's config overrides with every stream.
    #[must_use]
    pub fn with_overrides(self, config_overrides: HashMap<String, String>) -> Self {
        Self { options: Some(VStreamOptions { config_overrides, ..VStreamOptions::default() }), ..self }
    }

    /// Changes after `position` that match `filter`.
    ///
    /// # Errors
    /// The tablet's, in the words of stock's client.
    pub async fn events(&self, position: String, filter: Filter) -> Result<Streaming<VStreamResponse>> {
        let request = VStreamRequest {
            target: Some(self.target.clone()),
            position,
            filter: Some(filter),
            options: self.options.clone(),
            ..VStreamRequest::default()
        };
        let answer = self.client.clone().v_stream(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| Error::from_tablet(&status))
    }

    /// The rows that `query` selects, after `lastpk`.
    ///
    /// # Errors
    /// The tablet's, in the words of stock's client.
    pub async fn rows(&self, query: &str, lastpk: Option<QueryResult>) -> Result<Streaming<VStreamRowsResponse>> {
        let request = VStreamRowsRequest {
            target: Some(self.target.clone()),
            query: query.to_owned(),
            lastpk,
            options: self.options.clone(),
            ..VStreamRowsRequest::default()
        };
        let answer = self.client.clone().v_stream_rows(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| Error::from_tablet(&status))
    }

    /// The first message of the health stream; `None` when the stream ends without one.
    ///
    /// # Errors
    /// The tablet's, in the words of stock's client.
    pub async fn health(&self) -> Result<Option<StreamHealthResponse>> {
        let answer = self.client.clone().stream_health(StreamHealthRequest::default()).await;
        let mut stream = answer.map_err(|status| Error::from_tablet(&status))?.into_inner();
        stream.message().await.map_err(|status| Error::from_tablet(&status))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
