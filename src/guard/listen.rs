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

use super::answers::ReadMonitor;
use super::authority::Authority;
use super::frame_budget::FrameBudget;
use super::tls::{Shown, Tls};
use super::{Answers, CallSlots, Watched};
use crate::telemetry::metrics;
use crate::write_timeout::WriteTimeout;

/// A client has so long to finish the TLS handshake and to send the start of its first request.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// A client has so long to take some of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
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
    /// Slots of calls, and of answers that wait.
    pub slots: CallSlots,
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
    let slots = Arc::new(Semaphore::new(listening.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let (listening, sender) = (listening.clone(), sender.clone());
                    let greeted = stopped.clone().run_until_cancelled_owned(async move {
                        if let Ok(Some(io)) = greet(stream, address, listening, slot).await {
                            sender.send(Ok(io)).await.ok();
                        }
                    });
                    tokio::spawn(greeted);
                }
                Err(error) => {
                    // too many open files, or a client that went away: nothing that ends the server
                    tracing::warn!("cannot accept a connection: {error}");
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
    slot: OwnedSemaphorePermit,
) -> io::Result<Option<Io>> {
    stream.set_nodelay(true)?;
    let slots = listening.slots;
    let peer = Peer { answers: slots.answers(), ..Peer::plain(address) };
    let Some(tls) = &listening.tls else {
        return Ok(Some(Io::new(Socket::Plain(WriteTimeout::new(stream, WRITE_TIMEOUT)), peer, slots, slot)));
    };
    if listening.optional {
        let mut first = [0];
        match tokio::time::timeout(FIRST_BYTES_TIMEOUT, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {}
            Ok(Ok(1)) => {
                return Ok(Some(Io::new(Socket::Plain(WriteTimeout::new(stream, WRITE_TIMEOUT)), peer, slots, slot)));
            }
            _ => return Ok(None),
        }
    }
    let used = tls.get();
    let accepting = TlsAcceptor::from(Arc::clone(&used.config)).accept(WriteTimeout::new(stream, WRITE_TIMEOUT));
    match tokio::time::timeout(FIRST_BYTES_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => {
            let peer = peer.over(stream.get_ref().1, tls, &used);
            Ok(Some(Io::new(Socket::Tls(Box::new(stream)), peer, slots, slot)))
        }
        Ok(Err(error)) => {
            tracing::debug!(client.address = %address, "TLS handshake failed: {error}");
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}

enum Socket {
    Plain(WriteTimeout<TcpStream>),
    Tls(Box<TlsStream<WriteTimeout<TcpStream>>>),
}

/// An accepted connection.
pub struct Io {
    socket: Socket,
    peer: Peer,
    /// Ends a connection on which no client shows itself.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
    budget: FrameBudget,
    monitor: ReadMonitor,
    authority: Authority,
    /// Read and corrected, and not taken yet.
    corrected: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

impl Io {
    fn new(socket: Socket, peer: Peer, slots: CallSlots, slot: OwnedSemaphorePermit) -> Self {
        let greeting = Some((0, Box::pin(tokio::time::sleep(FIRST_BYTES_TIMEOUT))));
        let monitor = ReadMonitor::new(Arc::clone(&peer.answers), slots);
        let (budget, authority) = (FrameBudget::new(Instant::now()), Authority::new());
        Self { socket, peer, greeting, budget, monitor, authority, corrected: Vec::new(), _slot: slot }
    }

    /// Counts what the client's socket took.
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.monitor.wrote(bytes);
            self.budget.sent(bytes);
        }
        self.monitor.blocks(written.is_pending());
        written
    }

    /// The error that ends a connection whose client was given up, though it may take nothing that is read there.
    fn ended<T>(&self) -> Option<Poll<io::Result<T>>> {
        self.monitor.is_given_up().then(|| self.unread())
    }

    fn unread<T>(&self) -> Poll<io::Result<T>> {
        if self.monitor.is_heavy() {
            return self.disconnect("heavy", "holds more of the server's memory than there is room for");
        }
        self.disconnect("unread", "does not read its responses")
    }

    /// The error that ends the connection.
    fn disconnect<T>(&self, reason: &'static str, why: &'static str) -> Poll<io::Result<T>> {
        metrics::hung_up(reason);
        tracing::info!(client.address = ?self.peer.address, "closed the connection of a client that {why}");
        Poll::Ready(Err(io::Error::other(why)))
    }

    /// Gives what was corrected, as far as there is room.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.corrected.len().min(buf.remaining());
        buf.put_slice(self.corrected.get(..given).unwrap_or_default());
        self.corrected.drain(..given);
        if self.corrected.is_empty() {
            // an idle connection keeps no room for it
            self.corrected = Vec::new();
        }
    }

    /// Reads what is to be read, and checks its frames.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.corrected.is_empty() {
            self.give(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() && !self.budget.allow(new, Instant::now()) {
            return self.disconnect("flood", "sends a flood of frames without data");
        }
        if !self.monitor.is_read(cx) {
            return self.unread();
        }
        let got = new.len();
        let corrected = if got == 0 { None } else { self.authority.correct(new) };
        if let Some((seen, limit)) = &mut self.greeting {
            *seen = seen.saturating_add(got);
            if *seen >= GREETING {
                self.greeting = None;
            } else if read.is_pending() && limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not speak HTTP/2")));
            }
        }
        let Some(corrected) = corrected else { return read };
        buf.set_filled(before);
        if corrected.is_empty() {
            // the rest of a frame is still to come; nothing given would mean that there is none
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.corrected = corrected;
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
        self.monitor.reads();
        let read = self.read(cx, buf);
        if read.is_pending() {
            self.monitor.has_read_all();
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
        self.monitor.blocks(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
