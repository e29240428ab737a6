//! The accept loop of the HTTP port, plain and TLS. Clients that are slow to ask, or to read, are not waited for; when there are too
//! many of them, probes are still answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::guard::Watched;
use crate::guard::listen::Peer;
use crate::guard::tls::Tls;
use crate::write_timeout::WriteTimeout;

/// Connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// Connections besides, which are told how the program is and nothing else; more wait to be accepted.
const SPARE_CONNECTIONS: usize = 64;
/// How long one of these may live.
const SPARE_LIMIT: Duration = Duration::from_secs(5);
/// A client has so long to send a whole header, and between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where others wait for the place.
const SPARE_TIMEOUT: Duration = Duration::from_secs(1);
/// A client has so long to take some of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one header.
const MAX_HEADER: usize = 32 << 10;
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What is served when there are too many connections.
pub struct Spare(pub Router);

/// How one connection is served.
#[derive(Clone)]
struct Serving {
    tls: Option<Arc<Watched<Tls>>>,
    router: Router,
    header_timeout: Duration,
    ended: CancellationToken,
}

/// Serves until `ended`; then answers under way are finished.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Watched<Tls>>>,
    router: Router,
    Spare(spare): Spare,
    ended: CancellationToken,
) {
    let (places, spare_places) = (places(MAX_CONNECTIONS), places(SPARE_CONNECTIONS));
    let usual = Serving { tls, router, header_timeout: HEADER_TIMEOUT, ended: ended.clone() };
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, "too many connections: try again later\n") };
    let spare = Serving { router: spare.fallback(busy), header_timeout: SPARE_TIMEOUT, ..usual.clone() };
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // too many open files, or a client that went away: nothing that ends the server
                    tracing::warn!("cannot accept an HTTP connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                tasks.spawn(connection(stream, address, usual.clone(), place));
                continue;
            }
            let Ok(place) = Arc::clone(&spare_places).acquire_owned().await else { return };
            let short = connection(stream, address, spare.clone(), place);
            tasks.spawn(async move { tokio::time::timeout(SPARE_LIMIT, short).await.ok() });
        }
    };
    ended.run_until_cancelled(accepting).await;
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

fn places(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count))
}

async fn connection(stream: TcpStream, address: SocketAddr, serving: Serving, _place: OwnedSemaphorePermit) {
    stream.set_nodelay(true).ok();
    let peer = Peer::plain(address);
    let Some(tls) = &serving.tls else {
        return speak(WriteTimeout::new(stream, WRITE_TIMEOUT), peer, serving).await;
    };
    let mut first = [0];
    let begun = tokio::time::timeout(serving.header_timeout, stream.peek(&mut first)).await;
    match begun {
        Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {}
        Ok(Ok(1)) => return speak(WriteTimeout::new(stream, WRITE_TIMEOUT), peer, serving).await,
        _ => return,
    }
    let used = tls.get();
    let mut config = ServerConfig::clone(&used.config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(WriteTimeout::new(stream, WRITE_TIMEOUT));
    match tokio::time::timeout(serving.header_timeout, accepting).await {
        Ok(Ok(stream)) => {
            let peer = peer.over(stream.get_ref().1, tls, &used);
            speak(stream, peer, serving).await;
        }
        Ok(Err(error)) => tracing::debug!(client.address = %address, "TLS handshake failed: {error}"),
        Err(_) => {}
    }
}

async fn speak(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer, serving: Serving) {
    let Serving { router, header_timeout, ended, .. } = serving;
    let router = router.map_request(move |mut request: axum::http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
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
