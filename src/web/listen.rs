//! The accept loop of the HTTP port. Clients that are slow to ask, or to read, are not waited for.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::patience::Patient;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// A client has so long to send a whole header, and between two requests.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A client has so long to take some of what is written to it.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one header.
const MAX_HEADER: usize = 32 << 10;

/// Serves until `ended`; then answers under way are finished.
pub async fn serve(listener: TcpListener, router: Router, ended: CancellationToken) {
    let places = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    tasks.spawn(connection(stream, router.clone(), place, ended.clone()));
                }
                Err(error) => {
                    // too many open files, or a client that went away: nothing that ends the server
                    tracing::warn!("an HTTP connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    ended.run_until_cancelled(accepting).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn connection(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit, ended: CancellationToken) {
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(Patient::new(stream, READ_PATIENCE));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(MAX_HEADER)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = ended.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("an HTTP connection ended: {error}");
    }
}
