//! A TCP proxy on 127.0.0.1 that delays, holds or cuts what goes through it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

/// Pieces of a direction that may be on the way; more wait in the sender's socket.
const IN_FLIGHT: usize = 1024;
const DIAL: Duration = Duration::from_secs(5);

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Carries bytes, with the delays that are set.
    Open,
    /// Keeps connections and accepts new ones, but carries nothing until the link is open again.
    Blocked,
    /// Closes all connections with a reset, and new ones as soon as they are accepted.
    Cut,
}

/// A proxy in front of one server. Dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    link: watch::Sender<Link>,
    /// Microseconds that bytes take to the server, and from it.
    there: AtomicU64,
    back: AtomicU64,
    accepted: AtomicU64,
}

impl Proxy {
    /// Listens on a free port and carries every connection to `target`.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            link: watch::Sender::new(Link::Open),
            there: AtomicU64::new(0),
            back: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where the proxy listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets how long bytes take to the server and back from it, from now on: a round trip takes the sum.
    pub fn delay(&self, there: Duration, back: Duration) {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        self.shared.there.store(micros(there), Ordering::Relaxed);
        self.shared.back.store(micros(back), Ordering::Relaxed);
    }

    /// Opens, blocks or cuts the link.
    pub fn set(&self, link: Link) {
        self.shared.link.send_replace(link);
    }

    /// How many connections have been accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Link::Cut);
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(carry(client, Arc::clone(&shared)));
    }
}

/// Carries one connection until both sides are done or the link is cut.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut link = shared.link.subscribe();
    let cut = async { link.wait_for(|link| *link == Link::Cut).await.is_ok() };
    tokio::pin!(cut);
    let dial = async {
        wait_open(&mut shared.link.subscribe()).await;
        timeout(DIAL, TcpStream::connect(shared.target)).await.map_err(io::Error::other)?
    };
    let dialled =
        tokio::select! { server = dial => server, _ = &mut cut => Err(io::ErrorKind::ConnectionReset.into()) };
    let Ok(mut server) = dialled else {
        reset(&client);
        return;
    };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let both = async {
        let ((client_in, client_out), (server_in, server_out)) = (client.split(), server.split());
        tokio::join!(
            direction(client_in, server_out, shared.link.subscribe(), &shared.there),
            direction(server_in, client_out, shared.link.subscribe(), &shared.back),
        );
    };
    let was_cut = tokio::select! { _ = both => false, was_cut = &mut cut => was_cut };
    if was_cut {
        reset(&client);
        reset(&server);
    }
}

/// Makes the close of `stream` a reset.
fn reset(stream: &TcpStream) {
    // A socket that refuses is already gone.
    let _ = stream.set_zero_linger();
}

async fn wait_open(link: &mut watch::Receiver<Link>) {
    // The sender lives as long as the connection's `Shared`: no error is possible.
    let _ = link.wait_for(|link| *link == Link::Open).await;
}

/// Carries one direction: each piece is written `delay` after it was read, and reading goes on meanwhile.
async fn direction(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut link: watch::Receiver<Link>, delay: &AtomicU64) {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
            if pieces.send((due, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = arriving.recv().await {
            sleep_until(due).await;
            wait_open(&mut link).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
