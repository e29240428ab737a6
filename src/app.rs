//! The composition root: builds the parts, serves, drains.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use vtmigrated_proto::vtctlservice::vtctld_server::VtctldServer;

use crate::config::Config;
use crate::context::Context;
use crate::guard::{self, Auth, Roles, listen};
use crate::server::Vtctld;
use crate::server::layers::auth::AuthLayer;
use crate::server::layers::busy::BusyLayer;
use crate::server::layers::call::CallLayer;
use crate::server::layers::limits::LimitsLayer;
use crate::server::routes::Router;
use crate::topo::external_cluster::Mounts;
use crate::topo::{self, Dialer, Topo};
use crate::{tablet, web};

/// Bytes of one call's headers.
const MAX_HEADERS: u32 = 64 << 10;
/// Calls that a client may open and reset before its connection is closed.
const MAX_RESETS: usize = 50;

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the topology: {0}")]
    Topo(#[from] topo::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error(transparent)]
    Guard(#[from] guard::Error),
    #[error("cannot describe the services: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Listens where the configuration says and serves until `shutdown`.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    let grpc = listen(&config.grpc_address.to_string()).await?;
    let http = match config.http_address {
        Some(address) => Some(listen(&address.to_string()).await?),
        None => None,
    };
    serve(config, grpc, http, shutdown).await
}

/// Serves on listeners that the caller owns, until `shutdown`; then lets calls under way end.
pub async fn serve(
    config: Config,
    grpc: TcpListener,
    http: Option<TcpListener>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let context = Arc::new(context(&config).await?);
    if config.trying_out {
        tracing::warn!("no topology flag is given: everything is kept in memory and lost when this program ends");
    }
    if let Ok(address) = grpc.local_addr() {
        tracing::info!(server.address = %address, "serving gRPC");
    }
    let tasks = TaskTracker::new();
    let stopped = CancellationToken::new();
    let pages = http.map(|listener| tokio::spawn(web::serve(listener, Arc::clone(&context), stopped.clone())));
    let Guard { listening, auth, busy } = guard(&config.guard, &stopped)?;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let builder = Server::builder()
        .max_concurrent_streams(config.guard.max_streams)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS));
    let mut layers = builder.layer(CallLayer).layer(auth).layer(busy).layer(LimitsLayer).layer(Router);
    let mut router = layers.add_service(health);
    router = router.add_service(
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(vtmigrated_proto::DESCRIPTORS)
            .build_v1()?,
    );
    router = router.add_service(
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(vtmigrated_proto::DESCRIPTORS)
            .build_v1alpha()?,
    );
    if config.serve_vtctld {
        let service = VtctldServer::new(Vtctld::new(Arc::clone(&context), tasks.clone()))
            .max_decoding_message_size(config.max_message)
            .max_encoding_message_size(config.max_message);
        health_reporter.set_serving::<VtctldServer<Vtctld>>().await;
        router = router.add_service(service);
    }
    let incoming = listen::accept(grpc, listening, stopped.clone());
    let drained = stopped.clone();
    let stop = async move {
        shutdown.await;
        tracing::info!("stopping: calls under way are finished first");
        drained.cancel();
    };
    let serving = router.serve_with_incoming_shutdown(incoming, stop);
    let limit = async {
        stopped.cancelled().await;
        tokio::time::sleep(config.onterm_timeout).await;
    };
    tokio::select! {
        served = serving => served?,
        () = limit => tracing::warn!("calls under way did not end in time"),
    }
    tasks.close();
    if tokio::time::timeout(config.onterm_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(
            tasks = tasks.len(),
            "operations under way did not end in time; a repeat of their commands finishes them"
        );
    }
    if let Some(pages) = pages {
        pages.await.ok();
    }
    Ok(())
}

/// What stands between the port and the services.
struct Guard {
    listening: listen::Listening,
    auth: AuthLayer,
    busy: BusyLayer,
}

/// Reads the files that guard the port, and watches them until `stopped`.
fn guard(options: &guard::Options, stopped: &CancellationToken) -> Result<Guard, Error> {
    let tls = options.tls.load()?;
    let auth = Auth::load(options.mode.clone())?;
    let roles = options.roles.clone().map(Roles::load).transpose()?;
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch(stopped.clone()));
    }
    if let Auth::Static(users) = &auth {
        tokio::spawn(Arc::clone(users).watch(stopped.clone()));
    }
    if let Some(roles) = &roles {
        tokio::spawn(Arc::clone(roles).watch(stopped.clone()));
    }
    let (optional, max_connections) = (options.tls.optional, options.max_connections);
    Ok(Guard {
        listening: listen::Listening { tls, optional, max_connections },
        auth: AuthLayer::new(auth, roles),
        busy: BusyLayer::new(options.max_calls),
    })
}

async fn context(config: &Config) -> Result<Context, Error> {
    let dialer = Arc::new(Dialer::new(config.etcd.clone()));
    let topo =
        Topo::open(Arc::clone(&dialer), &config.topo.implementation, &config.topo.server, &config.topo.root).await?;
    Ok(Context {
        topo: Arc::new(topo),
        mounts: Mounts::new(dialer),
        tablets: tablet::Client::new(config.tablet_tls.clone(), config.remote_operation_timeout, config.max_message),
        options: config.operations.clone(),
    })
}

async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_owned(), source })
}
