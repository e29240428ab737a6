//! A server that stands in for a stock vtctld: it serves what vtmigrated does not, and writes down what reaches it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::Service;
use vtmigrated_proto::logutil::{Event, Level};
use vtmigrated_proto::topodata;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctl_server::{Vtctl, VtctlServer};
use vtmigrated_proto::vtctlservice::vtctld_server::{Vtctld, VtctldServer};

/// Bytes of a message that is larger than Vitess's limit.
pub const LARGE: usize = 20 << 20;

/// The server, until it is dropped.
pub struct Stock {
    pub address: String,
    pub seen: Seen,
    _stop: DropGuard,
}

/// What has reached the server.
#[derive(Clone)]
pub struct Seen {
    /// Metadata of the calls.
    pub metadata: Arc<Mutex<Vec<MetadataMap>>>,
    /// Calls that were cancelled.
    ended: mpsc::UnboundedSender<&'static str>,
    pub cancelled: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<&'static str>>>,
}

impl Seen {
    fn new() -> Self {
        let (ended, cancelled) = mpsc::unbounded_channel();
        Self { metadata: Arc::default(), ended, cancelled: Arc::new(tokio::sync::Mutex::new(cancelled)) }
    }

    /// The metadata of the last call.
    pub fn last(&self) -> MetadataMap {
        self.metadata.lock().unwrap().last().cloned().unwrap()
    }

    fn note<T>(&self, request: &Request<T>) {
        self.metadata.lock().unwrap().push(request.metadata().clone());
    }

    /// Tells when it is dropped.
    fn guard(&self, what: &'static str) -> impl Send + use<> {
        struct Guard(&'static str, mpsc::UnboundedSender<&'static str>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.1.send(self.0).ok();
            }
        }
        Guard(what, self.ended.clone())
    }

    /// Waits for the end of a call that was cancelled.
    pub async fn cancelled(&self) -> &'static str {
        let mut cancelled = self.cancelled.lock().await;
        tokio::time::timeout(Duration::from_secs(30), cancelled.recv()).await.unwrap().unwrap()
    }
}

impl Stock {
    /// Starts it, with TLS if given.
    pub async fn start(tls: Option<ServerTlsConfig>) -> Self {
        let seen = Seen::new();
        let vtctld = VtctldServer::new(Serving(seen.clone())).max_decoding_message_size(64 << 20);
        let vtctl = VtctlServer::new(Serving(seen.clone()));
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let router = server.add_service(vtctld.max_encoding_message_size(64 << 20)).add_service(vtctl);
        let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
        let address = listener.local_addr().unwrap().to_string();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped));
        Self { address, seen, _stop: stop.drop_guard() }
    }
}

struct Serving(Seen);

#[tonic::async_trait]
impl Vtctld for Serving {
    async fn emergency_reparent_shard(
        &self,
        r: Request<EmergencyReparentShardRequest>,
    ) -> Result<Response<EmergencyReparentShardResponse>, Status> {
        self.0.note(&r);
        let EmergencyReparentShardRequest { keyspace, shard, .. } = r.into_inner();
        match keyspace.as_str() {
            "slow" => {
                let _guard = self.0.guard("unary");
                std::future::pending().await
            }
            "fail" => {
                let details = ErrorDetails::with_error_info("NO_CANDIDATE", "vitess", []);
                let mut status = Status::with_error_details(Code::FailedPrecondition, "no candidate: é\n%", details);
                status.metadata_mut().insert("trailer", "t".parse().unwrap());
                Err(status)
            }
            _ => {
                let mut answer =
                    Response::new(EmergencyReparentShardResponse { keyspace, shard, ..Default::default() });
                answer.metadata_mut().insert("header", "h".parse().unwrap());
                Ok(answer)
            }
        }
    }

    async fn planned_reparent_shard(
        &self,
        r: Request<PlannedReparentShardRequest>,
    ) -> Result<Response<PlannedReparentShardResponse>, Status> {
        let keyspace = format!("stock reparents {}", r.into_inner().keyspace);
        Ok(Response::new(PlannedReparentShardResponse { keyspace, ..Default::default() }))
    }

    async fn backup(&self, r: Request<BackupRequest>) -> Result<Response<BoxStream<BackupResponse>>, Status> {
        self.0.note(&r);
        let cell = r.into_inner().tablet_alias.unwrap_or_default().cell;
        let (sender, events) = mpsc::unbounded_channel();
        for shard in ["1", "2", "3"] {
            sender.send(Ok(BackupResponse { shard: shard.into(), ..Default::default() })).unwrap();
        }
        let guard = self.0.guard("stream");
        match cell.as_str() {
            "endless" => {
                let open = sender.clone();
                let stream = UnboundedReceiverStream::new(events).map(move |event| {
                    let _kept = (&guard, &open);
                    event
                });
                return Ok(Response::new(Box::pin(stream)));
            }
            "fail" => sender.send(Err(Status::new(Code::Aborted, "disk full"))).unwrap(),
            _ => {}
        }
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(events))))
    }

    async fn move_tables_create(
        &self,
        r: Request<MoveTablesCreateRequest>,
    ) -> Result<Response<WorkflowStatusResponse>, Status> {
        let traffic_state = "x".repeat(r.into_inner().on_ddl.len());
        Ok(Response::new(WorkflowStatusResponse { traffic_state, ..Default::default() }))
    }

    async fn apply_schema(&self, r: Request<ApplySchemaRequest>) -> Result<Response<ApplySchemaResponse>, Status> {
        Ok(Response::new(ApplySchemaResponse { uuid_list: r.into_inner().sql, ..Default::default() }))
    }

    async fn workflow_switch_traffic(
        &self,
        r: Request<WorkflowSwitchTrafficRequest>,
    ) -> Result<Response<WorkflowSwitchTrafficResponse>, Status> {
        let summary = format!("switched {}", r.into_inner().workflow);
        Ok(Response::new(WorkflowSwitchTrafficResponse { summary, ..Default::default() }))
    }

    async fn get_keyspaces(&self, r: Request<GetKeyspacesRequest>) -> Result<Response<GetKeyspacesResponse>, Status> {
        self.0.note(&r);
        let keyspace = Some(topodata::Keyspace::default());
        Ok(Response::new(GetKeyspacesResponse { keyspaces: vec![Keyspace { name: "theirs".into(), keyspace }] }))
    }

    async fn mount_list(&self, _: Request<MountListRequest>) -> Result<Response<MountListResponse>, Status> {
        Ok(Response::new(MountListResponse::default()))
    }

    async fn mount_show(&self, r: Request<MountShowRequest>) -> Result<Response<MountShowResponse>, Status> {
        match r.into_inner().name.as_str() {
            "slow" => std::future::pending().await,
            name => Err(Status::unknown(format!("there is no vitess cluster named {name}"))),
        }
    }
}

#[tonic::async_trait]
impl Vtctl for Serving {
    async fn execute_vtctl_command(
        &self,
        r: Request<ExecuteVtctlCommandRequest>,
    ) -> Result<Response<BoxStream<ExecuteVtctlCommandResponse>>, Status> {
        let value = format!("stock runs {}\n", r.into_inner().args.join(" "));
        let event = Event { level: Level::Console.into(), value, ..Event::default() };
        let answer = ExecuteVtctlCommandResponse { event: Some(event) };
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(answer)]))))
    }
}

/// A service under the name of vtctld's that decodes nothing: it answers with the bytes and headers that it got.
#[derive(Clone)]
pub struct Echo;

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "vtctlservice.Vtctld";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let whole: Bytes = body.collect().await.unwrap().to_bytes();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            trailers.insert("path", http::HeaderValue::from_str(parts.uri.path()).unwrap());
            let frames = [Ok(http_body::Frame::data(whole)), Ok::<_, Infallible>(http_body::Frame::trailers(trailers))];
            let mut response =
                http::Response::new(Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames))));
            for name in ["content-type", "grpc-encoding", "grpc-accept-encoding", "data-bin"] {
                if let Some(value) = parts.headers.get(name) {
                    response.headers_mut().insert(http::HeaderName::from_static(name), value.clone());
                }
            }
            Ok(response)
        })
    }
}

/// Starts an [`Echo`]; answers its address.
pub async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(Server::builder().add_service(Echo).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}
