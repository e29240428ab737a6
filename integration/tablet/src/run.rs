//! A whole tablet: its database, its records, its services and its streams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{body::Body, transport::Server};
use tower::util::MapRequestLayer;
use vtmigrated::topo::{Dialer, EtcdOptions, Topo, external_cluster::Mounts};
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::TabletManagerServer;

use super::{
    connection,
    engine::{Context, Engine, Tuning, error},
    manager::Manager,
    options::Options,
    query_service, records,
    shared::Shared,
    sidecar, vdiff,
};

/// Why a tablet could not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listener: {0}")]
    Io(#[from] std::io::Error),
    #[error("mysql: {0}")]
    Mysql(#[from] mysql_async::Error),
    #[error("topology: {0}")]
    Topo(#[from] vtmigrated::topo::Error),
    #[error("tablet: {0}")]
    Tablet(#[from] error::Error),
    #[error("serving: {0}")]
    Serve(#[from] tonic::transport::Error),
    #[error("task: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A running tablet. End it with [`Tablet::stop`] or [`Tablet::kill`]; dropping it ends all its tasks without waiting.
pub struct Tablet {
    port: u16,
    context: Arc<Context>,
    engine: Arc<Engine>,
    vdiff: Arc<vdiff::Engine>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    follower: JoinHandle<()>,
    /// Cancels `shutdown` when the tablet is dropped.
    guard: DropGuard,
    /// Cuts all connections when cancelled or dropped.
    cut: DropGuard,
}

/// Between two looks at the topology.
const FOLLOW: Duration = Duration::from_secs(1);

impl Tablet {
    /// Starts with stock's waiting times. The listener decides about the port.
    ///
    /// # Errors
    /// MySQL or the topology does not answer.
    pub async fn start(options: Options, listener: TcpListener) -> Result<Self, Error> {
        Self::start_tuned(options, Tuning::default(), listener).await
    }

    /// Starts: databases and tables, records, services, and the streams where they were. The tablet is there for others when
    /// this returns.
    ///
    /// # Errors
    /// As [`Tablet::start`].
    pub async fn start_tuned(options: Options, tuning: Tuning, listener: TcpListener) -> Result<Self, Error> {
        let port = listener.local_addr()?.port();
        let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
        let topo =
            Topo::open(Arc::clone(&dialer), "etcd2", &options.topo_global_server, &options.topo_global_root).await?;
        let mut shared = Shared::new(options, CancellationToken::new());
        shared.row_pause = tuning.row_pause;
        let shared = Arc::new(shared);
        shared.create_database().await?;
        let mut conn = shared.connect().await?;
        sidecar::create(&mut conn, &shared.options.sidecar_db).await?;
        conn.disconnect().await?;
        let context = Arc::new(Context { shared, topo: Arc::new(topo), mounts: Mounts::new(dialer), tuning });
        records::publish(&context, port).await?;
        records::refresh(&context).await?;
        let engine = Arc::new(Engine::new(Arc::clone(&context)));
        let vdiff = Arc::new(vdiff::Engine::new(Arc::clone(&context), Arc::clone(&engine)));
        let manager = Manager::new(Arc::clone(&context), Arc::clone(&engine), Arc::clone(&vdiff));
        let guard = context.shared.shutdown.clone().drop_guard();
        let cut = CancellationToken::new();
        let server = serve(manager, &context.shared, listener, cut.clone());
        let follower = tokio::spawn(follow(Arc::clone(&context)));
        let tablet = Self { port, context, engine, vdiff, server, follower, guard, cut: cut.drop_guard() };
        // only a primary has streams and diffs of them
        if tablet.context.shared.state().tablet_type == vtmigrated_proto::topodata::TabletType::Primary {
            tablet.engine.open().await?;
            tablet.vdiff.open().await?;
        }
        Ok(tablet)
    }

    /// The port of both services.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.context.shared
    }

    /// Ends streams between two statements, then the services; waits for all of it. Records stay.
    ///
    /// # Errors
    /// A service that had failed.
    pub async fn stop(self) -> Result<(), Error> {
        self.vdiff.close().await;
        self.engine.close().await;
        self.context.shared.shutdown.cancel();
        self.follower.await?;
        self.server.await??;
        self.context.shared.pool.clone().disconnect().await?;
        Ok(())
    }

    /// Ends everything at once, in the middle of statements and calls, as the death of the process would.
    pub async fn kill(self) {
        self.vdiff.kill().await;
        self.engine.kill().await;
        self.server.abort();
        self.follower.abort();
        // each is cancelled or over
        let _ = self.server.await;
        let _ = self.follower.await;
        drop(self.cut);
        drop(self.guard);
    }
}

/// Serves the calls of a tablet until its shutdown; `cut` ends all connections.
///
/// Not `async`: what an async function does is compiled in each program that waits for it, and most of a test program would be
/// these two services.
fn serve(
    manager: Manager,
    shared: &Arc<Shared>,
    listener: TcpListener,
    cut: CancellationToken,
) -> JoinHandle<Result<(), tonic::transport::Error>> {
    let (seen, shutdown) = (Arc::clone(shared), shared.shutdown.clone());
    let router = Server::builder()
        .layer(MapRequestLayer::new(move |request: http::Request<Body>| {
            seen.see(&request);
            request
        }))
        .add_service(query_service::QueryService::server(Arc::clone(shared)))
        .add_service(
            TabletManagerServer::new(manager)
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX),
        );
    let incoming = connection::accept(listener, cut);
    tokio::spawn(router.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()))
}

async fn follow(context: Arc<Context>) {
    let mut reported: Option<Instant> = None;
    loop {
        tokio::select! {
            () = context.shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(FOLLOW) => {}
        }
        if let Err(error) = records::follow_vschema(&context).await
            && reported.is_none_or(|at| at.elapsed() > Duration::from_secs(60))
        {
            tracing::warn!(%error, "topology cannot be read");
            reported = Some(Instant::now());
        }
    }
}
