//! The accept loop of the gRPC port: plain, TLS, or both on one port; clients that say nothing are not waited for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::answers::Look;
use super::authority::Authority;
use super::frames::Frames;
use super::tls::{Shown, Tls};
use super::{Answers, Places, Watched};
use crate::patience::Patient;
use crate::telemetry::metrics;

/// A client has so long to finish the TLS handshake and to send the start of its first request.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client has so long to take some of what is written to it.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the HTTP/2 preface and the client's first settings frame: whoever sent them is a client.
const GREETING: usize = 24 + 9;
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the listener offers.
#[derive(Clone)]
pub struct Listening {
    /// TLS, if there is a certificate.
    pub tls: Option<Arc<Watched<Tls>>>,
    /// Clients without TLS are served too, although there is a certificate.
    pub optional: bool,
    /// More connections than these wait to be accepted.
    pub max_connections: usize,
    /// Places of calls, and of answers that wait.
    pub places: Places,
}

/// What is known of the other side of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: Option<SocketAddr>,
    pub tls: bool,
    /// The client's own certificate, which the handshake has verified; none without mutual TLS.
    pub certificate: Option<Arc<Shown>>,
    /// Answers that this client has not read to their end.
    pub answers: Arc<Answers>,
}

impl Peer {
    /// A client without TLS, whose answers nobody counts.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address: Some(address), tls: false, certificate: None, answers: Arc::default() }
    }

    /// The same client after a handshake.
    pub fn over(self, session: &rustls::ServerConnection, tls: &Arc<Watched<Tls>>, used: &Arc<Tls>) -> Self {
        Self { tls: true, certificate: Shown::of(session, tls, used).map(Arc::new), ..self }
    }
}

/// Accepts connections until `stopped`.
pub fn accept(
    listener: TcpListener,
    listening: Listening,
    stopped: CancellationToken,
) -> ReceiverStream<io::Result<Io>> {
    let (sender, receiver) = mpsc::channel(64);
    let places = Arc::new(Semaphore::new(listening.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let (listening, sender) = (listening.clone(), sender.clone());
                    let greeted = stopped.clone().run_until_cancelled_owned(async move {
                        if let Ok(Some(io)) = greet(stream, address, listening, place).await {
                            sender.send(Ok(io)).await.ok();
                        }
                    });
                    tokio::spawn(greeted);
                }
                Err(error) => {
                    // too many open files, or a client that went away: nothing that ends the server
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }));
    ReceiverStream::new(receiver)
}

/// Sets a connection up; `None` for a client that took too long or may not speak as it does.
async fn greet(
    stream: TcpStream,
    address: SocketAddr,
    listening: Listening,
    place: OwnedSemaphorePermit,
) -> io::Result<Option<Io>> {
    stream.set_nodelay(true)?;
    let places = listening.places;
    let peer = Peer { answers: places.answers(), ..Peer::plain(address) };
    let Some(tls) = &listening.tls else {
        return Ok(Some(Io::new(Socket::Plain(Patient::new(stream, READ_PATIENCE)), peer, places, place)));
    };
    if listening.optional {
        let mut first = [0];
        match tokio::time::timeout(PATIENCE, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {}
            Ok(Ok(1)) => {
                return Ok(Some(Io::new(Socket::Plain(Patient::new(stream, READ_PATIENCE)), peer, places, place)));
            }
            _ => return Ok(None),
        }
    }
    let used = tls.get();
    let accepting = TlsAcceptor::from(Arc::clone(&used.config)).accept(Patient::new(stream, READ_PATIENCE));
    match tokio::time::timeout(PATIENCE, accepting).await {
        Ok(Ok(stream)) => {
            let peer = peer.over(stream.get_ref().1, tls, &used);
            Ok(Some(Io::new(Socket::Tls(Box::new(stream)), peer, places, place)))
        }
        Ok(Err(error)) => {
            tracing::debug!(client.address = %address, "TLS handshake failed: {error}");
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}

enum Socket {
    Plain(Patient<TcpStream>),
    Tls(Box<TlsStream<Patient<TcpStream>>>),
}

/// An accepted connection.
pub struct Io {
    socket: Socket,
    peer: Peer,
    /// Ends a connection on which no client shows itself.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
    frames: Frames,
    look: Look,
    authority: Authority,
    /// Read and mended, and not taken yet.
    mended: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl Io {
    fn new(socket: Socket, peer: Peer, places: Places, place: OwnedSemaphorePermit) -> Self {
        let greeting = Some((0, Box::pin(tokio::time::sleep(PATIENCE))));
        let look = Look::new(Arc::clone(&peer.answers), places);
        let (frames, authority) = (Frames::new(Instant::now()), Authority::new());
        Self { socket, peer, greeting, frames, look, authority, mended: Vec::new(), _place: place }
    }

    /// Counts what the client's socket took.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.look.wrote(bytes);
            self.frames.sent(bytes);
        }
        self.look.blocks(written.is_pending());
        written
    }

    /// The error that ends a connection whose client was given up, though it may take nothing that is read there.
    fn ended<T>(&self) -> Option<Poll<io::Result<T>>> {
        self.look.is_given_up().then(|| self.unread())
    }

    fn unread<T>(&self) -> Poll<io::Result<T>> {
        if self.look.is_heavy() {
            return self.hang_up("heavy", "has the server hold more than there is room for");
        }
        self.hang_up("unread", "does not read its answers")
    }

    /// The error that ends the connection.
    fn hang_up<T>(&self, reason: &'static str, why: &'static str) -> Poll<io::Result<T>> {
        metrics::hung_up(reason);
        tracing::info!(client.address = ?self.peer.address, "hung up on a client that {why}");
        Poll::Ready(Err(io::Error::other(why)))
    }

    /// Gives what was mended, as far as there is room.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.mended.len().min(buf.remaining());
        buf.put_slice(self.mended.get(..given).unwrap_or_default());
        self.mended.drain(..given);
        if self.mended.is_empty() {
            // an idle connection keeps no room for it
            self.mended = Vec::new();
        }
    }

    /// Reads what is to be read, and looks through it.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.mended.is_empty() {
            self.give(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() && !self.frames.allow(new, Instant::now()) {
            return self.hang_up("flood", "sends a flood of frames that carry nothing");
        }
        if !self.look.is_read(cx) {
            return self.unread();
        }
        let got = new.len();
        let mended = if got == 0 { None } else { self.authority.mend(new) };
        if let Some((seen, limit)) = &mut self.greeting {
            *seen = seen.saturating_add(got);
            if *seen >= GREETING {
                self.greeting = None;
            } else if read.is_pending() && limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 client showed itself")));
            }
        }
        let Some(mended) = mended else { return read };
        buf.set_filled(before);
        if mended.is_empty() {
            // the rest of a frame is still to come; nothing given would mean that there is none
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.mended = mended;
        self.give(buf);
        read
    }
}

impl Connected for Io {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.look.reads();
        let read = self.read(cx, buf);
        if read.is_pending() {
            self.look.has_read_all();
        }
        read
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(ended) = self.ended() {
            return ended;
        }
        let written = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        };
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(ended) = self.ended() {
            return ended;
        }
        let written = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        };
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.look.blocks(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
