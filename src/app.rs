//! The composition root: builds the parts, serves, drains.

mod listen;
mod open_files;
mod pid_file;
mod stop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tower::util::MapRequestLayer;
use vtmigrated_proto::vtctlservice::vtctl_server::VtctlServer;
use vtmigrated_proto::vtctlservice::vtctld_server::VtctldServer;
use vtmigrated_proto::vtmigrated::advisor_server::AdvisorServer;
use vtmigrated_proto::vtmigrated::way_back_server::WayBackServer;

use crate::config::{Config, ProcessOptions, TopoOptions};
use crate::context::Context;
use crate::guard::{self, Gate};
use crate::server::fallback::{self, Fallback};
use crate::server::layers::auth::AuthLayer;
use crate::server::layers::call::CallLayer;
use crate::server::layers::compression::CompressionLayer;
use crate::server::layers::concurrency::ConcurrencyLayer;
use crate::server::layers::limits::LimitsLayer;
use crate::server::layers::metrics::MetricsLayer;
use crate::server::layers::shared::SharedLayer;
use crate::server::layers::shortcut::ShortcutLayer;
use crate::server::router::Router;
use crate::server::sent_message::SentMessage;
use crate::server::{Advisor, Calls, Vtctl, Vtctld, WayBack};
use crate::telemetry::shadow::Counts;
use crate::topo::access::Holder;
use crate::topo::{self, Dialer, Topo};
use crate::{meters, tablet, watch, web};
use listen::listen;
use pid_file::PidFile;
pub use stop::stop_signal;

/// Bytes of a request about health or services: names.
const MAX_QUESTION: usize = 64 << 10;

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the topology: {0}")]
    Topo(#[from] topo::Error),
    #[error("cannot listen on {address}: {source}{}", listen::taken(.source))]
    Listen { address: String, source: std::io::Error },
    #[error("cannot write --pid_file {path}: {source}")]
    PidFile { path: String, source: std::io::Error },
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error(transparent)]
    Guard(#[from] guard::Error),
    #[error("cannot describe the services: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error(transparent)]
    Fallback(#[from] fallback::Error),
}

/// Listens where the configuration says and serves until `shutdown`.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    open_files::raise();
    let grpc = listen(&config.grpc_address).await?;
    let http = match &config.http_address {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let file = config.process.pid_file.as_deref().map(PidFile::write).transpose()?;
    let served = serve(config, grpc, http, shutdown).await;
    drop(file);
    served
}

/// Serves on listeners that the caller owns, until `shutdown`; then lets calls under way end.
pub async fn serve(
    config: Config,
    grpc: TcpListener,
    http: Option<TcpListener>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let started = Instant::now();
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let context = Arc::new(context(&config).await?);
    if config.trying_out {
        tracing::warn!("no topology flags given: everything is kept in memory and lost on exit");
    }
    let address = |listener: &TcpListener| listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
    tracing::info!(server.address = address(&grpc), "serving gRPC");
    let shadow = Arc::new(Counts::default());
    let router = router(&config, &shadow)?;
    let tasks = TaskTracker::new();
    let stopping = CancellationToken::new();
    let ended = CancellationToken::new();
    let seen = watch::start(Arc::clone(&context), &config.watch, stopping.clone());
    meters::observe(seen.clone());
    let Guard { listening, gate, busy } = guard(&config, &stopping)?;
    let pages = http.map(|listener| {
        tracing::info!(server.address = address(&listener), "serving HTTP");
        let state = web::Pages {
            context: Arc::clone(&context),
            options: config.pages.clone(),
            started,
            stopping: stopping.clone(),
            shadow,
            callers: (!config.pages.open).then(|| gate.clone()),
            views: Arc::new(web::Views::new(seen, site(&context, &config))),
        };
        tokio::spawn(web::serve(listener, listening.tls.clone(), state, ended.clone()))
    });
    let (services, vtctld) = services(&config, &context, &tasks, stopping.clone()).await?;
    // what every call crosses, outermost first
    let server = config
        .server
        .builder()
        .max_concurrent_streams(config.guard.max_streams)
        .layer(MetricsLayer)
        .layer(CallLayer)
        .layer(AuthLayer::new(gate))
        .layer(busy)
        .layer(LimitsLayer)
        .layer(router)
        .layer(SharedLayer::new(config.server.max_message))
        .layer(CompressionLayer::new(config.server.max_message))
        .layer(MapRequestLayer::new(SentMessage::keep))
        .layer(ShortcutLayer::new(vtctld))
        .add_routes(services);
    let incoming = guard::listen::accept(grpc, listening, stopping.clone());
    let told = stopping.clone();
    let stop = async move {
        shutdown.await;
        tracing::info!("shutting down: draining calls in progress");
        told.cancel();
    };
    let serving = server.serve_with_incoming_shutdown(incoming, stop);
    drain(serving, &config.process, &stopping).await?;
    close(config.process.onclose_timeout, &tasks, ended, pages).await;
    Ok(())
}

/// Serves until `stopping`, then as long as calls under way may take, and at least for the lameduck period.
async fn drain(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    process: &ProcessOptions,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    let limit = async {
        stopping.cancelled().await;
        tokio::time::sleep(process.onterm_timeout).await;
    };
    tokio::select! {
        served = serving => served?,
        () = limit => tracing::warn!("calls in progress did not finish in time"),
    }
    stopping.cancelled().await;
    tokio::time::sleep(process.lameduck_period).await;
    Ok(())
}

/// The table of RPCs, and where it forwards to.
fn router(config: &Config, shadow: &Arc<Counts>) -> Result<Router, Error> {
    let fallback = match config.fallback.clone() {
        Some(options) => {
            tracing::info!(server.address = options.address, "forwarding calls that are not served here");
            Some(Arc::new(Fallback::new(options, Arc::clone(shadow))?))
        }
        None => None,
    };
    Ok(Router::new(fallback).hiding(config.server.services.hidden()))
}

/// The gRPC services, and the one that most calls are for once more, by itself. They are healthy until `stopping`.
async fn services(
    config: &Config,
    context: &Arc<Context>,
    tasks: &TaskTracker,
    stopping: CancellationToken,
) -> Result<(Routes, Option<VtctldServer<Vtctld>>), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(vtmigrated_proto::DESCRIPTORS)
    };
    let mut services = RoutesBuilder::default();
    services
        .add_service(health.max_decoding_message_size(MAX_QUESTION))
        .add_service(described().build_v1()?.max_decoding_message_size(MAX_QUESTION))
        .add_service(described().build_v1alpha()?.max_decoding_message_size(MAX_QUESTION));
    let calls = Calls::new(Arc::clone(context), tasks.clone());
    let mut vtctld = None;
    if config.server.services.vtctld {
        let service = VtctldServer::new(Vtctld::new(calls.clone()))
            .max_decoding_message_size(config.server.max_message)
            .max_encoding_message_size(config.server.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        reporter.set_serving::<VtctldServer<Vtctld>>().await;
        let advisor = AdvisorServer::new(Advisor::new(calls.clone()))
            .max_decoding_message_size(config.server.max_message)
            .max_encoding_message_size(config.server.max_message);
        let way_back = WayBackServer::new(WayBack::new(calls.clone()))
            .max_decoding_message_size(config.server.max_message)
            .max_encoding_message_size(config.server.max_message);
        services.add_service(service.clone()).add_service(advisor).add_service(way_back);
        vtctld = Some(service);
    }
    if config.server.services.vtctl {
        let service = VtctlServer::new(Vtctl::new(calls))
            .max_decoding_message_size(config.server.max_message)
            .max_encoding_message_size(config.server.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        reporter.set_serving::<VtctlServer<Vtctl>>().await;
        services.add_service(service);
    }
    tokio::spawn(async move {
        stopping.cancelled().await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
        reporter.set_not_serving::<VtctldServer<Vtctld>>().await;
        reporter.set_not_serving::<VtctlServer<Vtctl>>().await;
    });
    Ok((services.routes(), vtctld))
}

/// Waits for operations and pages under way, at most `limit`.
async fn close(limit: Duration, tasks: &TaskTracker, ended: CancellationToken, pages: Option<JoinHandle<()>>) {
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(
            tasks = tasks.len(),
            "operations in progress did not finish in time; run their commands again to finish them"
        );
    }
    ended.cancel();
    if let Some(pages) = pages
        && tokio::time::timeout(limit, pages).await.is_err()
    {
        tracing::warn!("HTTP requests in progress did not finish in time");
    }
}

/// What stands between the port and the services.
struct Guard {
    listening: guard::listen::Listening,
    gate: Gate,
    busy: ConcurrencyLayer,
}

/// Reads the files that guard the port, and watches them until `stopped`.
fn guard(config: &Config, stopped: &CancellationToken) -> Result<Guard, Error> {
    let options = &config.guard;
    let tls = options.tls.load()?;
    let gate = Gate::load(options)?;
    gate.watch(stopped);
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch(stopped.clone()));
    }
    let (optional, max_connections) = (options.tls.optional, options.max_connections);
    let max_bytes = options.max_bytes.max(config.server.max_message.saturating_mul(2));
    let slots = guard::CallSlots::new(options.max_calls, max_bytes);
    Ok(Guard {
        listening: guard::listen::Listening { tls, optional, max_connections, slots: slots.clone() },
        gate,
        busy: ConcurrencyLayer::new(slots),
    })
}

/// What the status page calls this cluster.
fn site(context: &Context, config: &Config) -> String {
    let (kind, server, root) = context.topo.global().endpoint();
    let cell = if config.cell.is_empty() { String::new() } else { format!("{} · ", config.cell) };
    format!("{cell}{kind} {server} {root}")
}

async fn context(config: &Config) -> Result<Context, Error> {
    let TopoOptions { implementation, server, root, read_concurrency } = &config.topo;
    let dialer = Arc::new(Dialer::with(config.topologies.clone()).with_reads(*read_concurrency));
    let topo = Topo::open_for(Holder::Own, Arc::clone(&dialer), implementation, server, root).await?;
    let tablets = tablet::Options { trusted: dialer.trusted_tablets(), ..config.tablet.clone() };
    Ok(Context::new(Arc::new(topo), tablet::Client::new(tablets), config.operations.clone()))
}
