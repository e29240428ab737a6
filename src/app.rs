//! The composition root: builds the parts, serves, drains.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use vtmigrated_proto::vtctlservice::vtctl_server::VtctlServer;
use vtmigrated_proto::vtctlservice::vtctld_server::VtctldServer;

use crate::config::Config;
use crate::context::Context;
use crate::server::fallback::{self, Fallback};
use crate::server::layers::call::CallLayer;
use crate::server::layers::limits::LimitsLayer;
use crate::server::router::Router;
use crate::server::{Vtctl, Vtctld};
use crate::telemetry::shadow::Counts;
use crate::topo::external_cluster::Mounts;
use crate::topo::{self, Dialer, Topo};
use crate::{tablet, web};

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the topology: {0}")]
    Topo(#[from] topo::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("cannot describe the services: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error(transparent)]
    Fallback(#[from] fallback::Error),
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
    let shadow = Arc::new(Counts::default());
    let router = Router::new(fallback(&config, &shadow)?).hiding(hidden(&config));
    let tasks = TaskTracker::new();
    let stopped = tokio_util::sync::CancellationToken::new();
    let pages = http
        .map(|listener| tokio::spawn(web::serve(listener, Arc::clone(&context), Arc::clone(&shadow), stopped.clone())));
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let mut router = Server::builder().layer(CallLayer).layer(LimitsLayer).layer(router).add_service(health);
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
    if config.serve_vtctl {
        let service = VtctlServer::new(Vtctl::new(Arc::clone(&context), tasks.clone()))
            .max_decoding_message_size(config.max_message)
            .max_encoding_message_size(config.max_message);
        health_reporter.set_serving::<VtctlServer<Vtctl>>().await;
        router = router.add_service(service);
    }
    // tonic's own setting does not reach a bare listener stream
    let incoming = TcpListenerStream::new(grpc).map(|stream| {
        stream.inspect(|stream| {
            stream.set_nodelay(true).ok();
        })
    });
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

fn fallback(config: &Config, shadow: &Arc<Counts>) -> Result<Option<Arc<Fallback>>, Error> {
    let Some(options) = config.fallback.clone() else { return Ok(None) };
    tracing::info!(server.address = options.address, "what is not served here is handed on");
    Ok(Some(Arc::new(Fallback::new(options, Arc::clone(shadow))?)))
}

/// Services that `--service_map` leaves out: nothing of them is handed on.
fn hidden(config: &Config) -> Vec<&'static str> {
    let services = [(config.serve_vtctld, "vtctlservice.Vtctld"), (config.serve_vtctl, "vtctlservice.Vtctl")];
    services.into_iter().filter(|(on, _)| !on).map(|(_, name)| name).collect()
}

async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_owned(), source })
}
