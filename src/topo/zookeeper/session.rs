//! The session of a connection, opened when first used and again when it has ended, and sessions of their own for locks.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Shared};
use tokio::sync::{Mutex, Semaphore};
use tracing::Instrument;
use zookeeper_client::{Client, Error as ZkError, SessionState};

use super::tunnel::Tunnels;
use crate::deadline;
use crate::topo::access::Access;
use crate::topo::{Error, Result, ZookeeperOptions};

/// Bound of opening a session, and of waiting for a broken connection to come back.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was silent for so long is broken; the client pings at 3/8 of it.
const SILENCE: Duration = Duration::from_secs(4);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens sessions to the servers of one topology, and keeps one.
pub(super) struct Sessions {
    server: String,
    addresses: Vec<String>,
    access: Access,
    base_timeout: Duration,
    permits: Semaphore,
    kept: std::sync::Mutex<Option<Opening>>,
    tunnels: Mutex<Option<Tunnels>>,
}

/// A session that is being opened, or was: whoever waits for the same try gets the same answer.
type Opening = Shared<BoxFuture<'static, Result<Client>>>;

impl Sessions {
    pub(super) fn new(server: &str, access: Access, options: &ZookeeperOptions) -> Result<Self> {
        let voting = server.split('|').next().unwrap_or_default();
        let addresses: Vec<String> =
            voting.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect();
        let unreachable = |detail: String| Error::Unreachable { kind: "zk2".into(), server: server.to_owned(), detail };
        if addresses.is_empty() {
            return Err(unreachable("no address is given".into()));
        }
        if let Some(bad) = addresses.iter().find(|a| a.contains("://") || a.contains('/') || !a.contains(':')) {
            return Err(unreachable(format!("bad address {bad}: host:port is expected")));
        }
        Ok(Self {
            server: server.to_owned(),
            addresses,
            access,
            base_timeout: options.base_timeout,
            permits: Semaphore::new(options.max_concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            kept: std::sync::Mutex::default(),
            tunnels: Mutex::default(),
        })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn unreachable(&self, detail: String) -> Error {
        Error::Unreachable { kind: "zk2".into(), server: self.server.clone(), detail }
    }

    /// The kept session. It is opened in the time that opening takes, whatever the deadline of the first who asked.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with what the newest try met, or when the caller's own deadline came first.
    pub(super) async fn client(self: &Arc<Self>) -> Result<Client> {
        let opening = self.opening();
        let limit = deadline::remaining(CONNECT_TIMEOUT + Duration::from_secs(1));
        let late = || Err(self.unreachable("no session within the caller's deadline".into()));
        tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| late())
    }

    fn opening(self: &Arc<Self>) -> Opening {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.as_ref().filter(|opening| match opening.peek() {
            None => true,
            Some(Ok(client)) => !client.state().is_terminated(),
            Some(Err(_)) => false,
        });
        if let Some(opening) = known {
            return opening.clone();
        }
        let sessions = Arc::clone(self);
        // a task of its own goes on when its callers leave, and has no caller's deadline
        let task = tokio::spawn(async move { sessions.connect(sessions.base_timeout, Some(SILENCE)).await });
        let ended = self.unreachable("opening a session was given up".into());
        let opening = async move { task.await.unwrap_or(Err(ended)) }.boxed().shared();
        *kept = Some(opening.clone());
        opening
    }

    /// The next call opens another session: one whose connection was away for long tries more and more seldom.
    fn forget(&self, client: &Client) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |opening: &Opening| {
            opening.peek().is_some_and(|known| known.as_ref().is_ok_and(|c| c.session_id() == client.session_id()))
        };
        if kept.as_ref().is_some_and(is_kept) {
            *kept = None;
        }
    }

    /// A new session; it ends with the last clone of the client, or after `timeout` without a sign of life.
    pub(super) async fn connect(&self, timeout: Duration, silence: Option<Duration>) -> Result<Client> {
        let mut connector = Client::connector().with_session_timeout(timeout).with_fail_eagerly();
        if let Some(silence) = silence {
            connector = connector.with_connection_timeout(silence.min(timeout / 2));
        }
        if let Some((scheme, credentials)) = &self.access.auth {
            connector = connector.with_auth(scheme, credentials.expose().as_bytes());
        }
        let mut tunnels = self.tunnels.lock().await;
        if let (Some(tls), None) = (&self.access.tls, tunnels.as_ref()) {
            let opened = Tunnels::open(&self.addresses, tls).await;
            *tunnels = Some(opened.map_err(|detail| self.unreachable(detail))?);
        }
        let servers = tunnels.as_ref().map_or_else(|| self.addresses.join(","), Tunnels::addresses);
        drop(tunnels);
        let span = tracing::info_span!("topo", vitess.topo.op = "Connect", server.address = %self.server);
        let connect = connector.connect(&servers).instrument(span);
        let error = match tokio::time::timeout(deadline::remaining(CONNECT_TIMEOUT), connect).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no session within {} s", CONNECT_TIMEOUT.as_secs()),
        };
        let tunnels = self.tunnels.lock().await;
        let why = tunnels.as_ref().and_then(Tunnels::newest_failure);
        Err(self.unreachable(why.map_or_else(|| error.clone(), |why| format!("{error}: {why}"))))
    }

    /// Runs one call under the caller's deadline and in a span. [`ZkError::ConnectionLoss`] also when the connection is
    /// away for long.
    pub(super) async fn run<T>(
        &self,
        op: &'static str,
        key: &str,
        client: &Client,
        call: impl Future<Output = std::result::Result<T, ZkError>> + Send,
    ) -> std::result::Result<T, ZkError> {
        let span =
            tracing::info_span!("topo", vitess.topo.op = op, vitess.topo.path = key, server.address = %self.server);
        let limited = async {
            // a probe asks beside what is under way, not behind it
            let _permit = if op == "Probe" { None } else { self.permits.acquire().await.ok() };
            tokio::select! {
                biased;
                answer = call => answer,
                () = away(client) => {
                    self.forget(client);
                    Err(ZkError::ConnectionLoss)
                }
            }
        };
        let answer = tokio::time::timeout(deadline::remaining(OPERATION_TIMEOUT), limited.instrument(span)).await;
        answer.unwrap_or(Err(ZkError::Timeout))
    }
}

/// Waits until the connection stands: what a session is given before, it sends later, whoever has given up and written again.
pub(super) async fn connected(client: &Client) -> std::result::Result<(), ZkError> {
    let mut watcher = client.state_watcher();
    while watcher.peek_state() == SessionState::Disconnected {
        if tokio::time::timeout(CONNECT_TIMEOUT, watcher.changed()).await.is_err() {
            return Err(ZkError::ConnectionLoss);
        }
    }
    Ok(())
}

/// Ends when the session's connection is broken and does not come back in time.
async fn away(client: &Client) {
    let mut watcher = client.state_watcher();
    loop {
        let came_back = if watcher.peek_state() == SessionState::Disconnected {
            tokio::time::timeout(CONNECT_TIMEOUT, watcher.changed()).await.is_ok()
        } else {
            watcher.changed().await;
            true
        };
        if !came_back {
            return;
        }
    }
}
