//! The gRPC service `queryservice.Query`: health, the two streams, and statements of tests.

pub mod status;

mod execute;

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt, Stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use vtmigrated_proto::{
    binlogdata::{VStreamOptions, VStreamRequest, VStreamResponse, VStreamRowsRequest, VStreamRowsResponse},
    query::{ExecuteRequest, ExecuteResponse, RealtimeStats, StreamHealthRequest, StreamHealthResponse, Target},
    queryservice::query_server::{Query, QueryServer},
};

use crate::{
    event_stream, row_stream,
    shared::{Shared, State},
};

/// How often health is told without a change.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// The service of one tablet.
#[derive(Clone, Debug)]
pub struct QueryService {
    shared: Arc<Shared>,
}

impl QueryService {
    /// Ready for `tonic::transport::Server::add_service`, without limits on message size.
    #[must_use]
    pub fn server(shared: Arc<Shared>) -> QueryServer<Self> {
        QueryServer::new(Self { shared }).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    }

    /// Runs a stream in a task of its own until it ends, the client leaves or the tablet ends.
    fn stream<T, F>(&self, run: impl FnOnce(Arc<Shared>, mpsc::Sender<Result<T, Status>>) -> F) -> Streamed<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (out, responses) = mpsc::channel(4);
        let shutdown = self.shared.shutdown.clone();
        let stream = AssertUnwindSafe(run(Arc::clone(&self.shared), out.clone())).catch_unwind();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = stream => ended.unwrap_or_else(|_| Err(Status::internal("caught panic in a stream"))),
                () = shutdown.cancelled() => Err(Status::unavailable("tabletserver is shutdown")),
                () = out.closed() => return,
            };
            if let Err(status) = ended {
                // Nobody is there to be told when this fails.
                let _gone = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    fn check_options(&self, options: Option<&VStreamOptions>) -> Result<(), Status> {
        let overrides = options.into_iter().flat_map(|options| &options.config_overrides);
        let read = self.shared.options.generation.check_overrides(overrides);
        read.map_err(|why| Status::unknown(format!("failed to parse VReplicationConfig: {why}")))
    }

    fn health(&self, state: &State) -> StreamHealthResponse {
        let options = &self.shared.options;
        StreamHealthResponse {
            target: Some(Target {
                keyspace: options.keyspace.clone(),
                shard: options.shard.clone(),
                tablet_type: state.tablet_type.into(),
                ..Target::default()
            }),
            serving: state.serving,
            primary_term_start_timestamp: state.primary_term_start,
            realtime_stats: Some(RealtimeStats::default()),
            tablet_alias: Some(options.alias()),
        }
    }
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Streamed<T> = Result<Response<BoxStream<T>>, Status>;

#[tonic::async_trait]
impl Query for QueryService {
    async fn execute(&self, request: Request<ExecuteRequest>) -> Result<Response<ExecuteResponse>, Status> {
        let request = request.into_inner();
        status::check_target(&self.shared, request.target.as_ref())?;
        if request.transaction_id != 0 || request.reserved_id != 0 {
            return Err(Status::unimplemented("transactions are not supported by this tablet"));
        }
        let result = execute::run(&self.shared, &request.query.unwrap_or_default()).await?;
        Ok(Response::new(ExecuteResponse { result: Some(result) }))
    }

    async fn stream_health(&self, _: Request<StreamHealthRequest>) -> Streamed<StreamHealthResponse> {
        let service = self.clone();
        self.stream(|shared, out| async move {
            let mut states = shared.watch_state();
            loop {
                let health = service.health(&states.borrow_and_update());
                if out.send(Ok(health)).await.is_err() {
                    return Ok(());
                }
                let changed = tokio::time::timeout(HEALTH_INTERVAL, states.changed());
                if changed.await.is_ok_and(|changed| changed.is_err()) {
                    return Ok(());
                }
            }
        })
    }

    async fn v_stream(&self, request: Request<VStreamRequest>) -> Streamed<VStreamResponse> {
        let request = request.into_inner();
        status::check_target(&self.shared, request.target.as_ref())?;
        self.check_options(request.options.as_ref())?;
        self.stream(|shared, out| async move { event_stream::run(&shared, request, &out).await })
    }

    async fn v_stream_rows(&self, request: Request<VStreamRowsRequest>) -> Streamed<VStreamRowsResponse> {
        let request = request.into_inner();
        status::check_target(&self.shared, request.target.as_ref())?;
        self.check_options(request.options.as_ref())?;
        self.stream(|shared, out| async move { row_stream::run(&shared, request, &out).await })
    }
}
