//! Requests to Consul's agents: kept connections, TLS, token, and errors that name server and cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::header::HeaderValue;
use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tracing::Instrument;

use super::OPERATION_TIMEOUT;
use crate::deadline;
use crate::error::with_cause;
use crate::tls::Files;
use crate::topo::access::{Access, Secret, Tls};
use crate::topo::error::NOT_ALLOWED;
use crate::topo::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An agent that says nothing for so long is left, where others are asked after it.
const AGENT_TIMEOUT: Duration = Duration::from_secs(3);
/// A listing may be large.
const MAX_ANSWER: usize = 512 << 20;
/// What stays as it is in the path of a key.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A client of the agents of one topology.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    server: String,
    /// Beginnings of the agents' URLs.
    agents: Vec<String>,
    /// The one that is asked, modulo their number.
    current: AtomicUsize,
    token: Option<(HeaderValue, Secret)>,
    /// What the agents say in errors is not repeated.
    stranger: bool,
}

/// A request.
pub(super) struct Call<'a> {
    pub op: &'static str,
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    pub body: Bytes,
    /// How long an agent is asked to wait before it answers.
    pub wait: Duration,
    /// Whether it is sent again when an earlier try may have been carried out.
    pub repeats: bool,
}

impl<'a> Call<'a> {
    /// A read.
    pub(super) fn get(op: &'static str, target: &'a str) -> Self {
        Self { op, method: Method::GET, target, body: Bytes::new(), wait: Duration::ZERO, repeats: true }
    }

    /// A change.
    pub(super) fn put(op: &'static str, target: &'a str, body: Vec<u8>, repeats: bool) -> Self {
        Self { method: Method::PUT, body: body.into(), repeats, ..Self::get(op, target) }
    }

    /// Bound of all tries together.
    fn limit(&self) -> Duration {
        OPERATION_TIMEOUT + self.wait
    }

    /// How long an agent may be silent when `others` are asked after it. What is not sent twice waits until it is known that no
    /// connection comes about. Who is asked last gets all the time there is: while the servers elect a leader an agent holds
    /// what it is asked for up to seven seconds.
    fn timeout(&self, others: usize) -> Duration {
        if others == 0 {
            return self.limit();
        }
        let silence = if self.repeats { AGENT_TIMEOUT } else { CONNECT_TIMEOUT + AGENT_TIMEOUT };
        self.wait + silence.min(self.limit() / 2)
    }
}

/// What an agent answered.
pub(super) struct Answer {
    pub status: StatusCode,
    /// `X-Consul-Index`: where a blocking query goes on.
    pub index: u64,
    pub body: Bytes,
}

/// Path and query of a key.
pub(super) fn kv(key: &str, query: &str) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/v1/kv/{}{mark}{query}", utf8_percent_encode(key, PLAIN))
}

impl Http {
    pub(super) fn new(server: &str, access: Access) -> Result<Self> {
        let unreachable =
            |detail: String| Error::Unreachable { kind: "consul".into(), server: server.to_owned(), detail };
        let scheme = if access.tls.is_some() { "https" } else { "http" };
        let mut agents = Vec::new();
        for address in server.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let agent = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") };
            let known = agent.starts_with("http://") || agent.starts_with("https://");
            if !known || agent.parse::<::http::Uri>().is_err() {
                return Err(unreachable(format!("bad address {address}")));
            }
            agents.push(agent.trim_end_matches('/').to_owned());
        }
        if agents.is_empty() {
            return Err(unreachable("no address is given".into()));
        }
        let stranger = access.stranger;
        let token = match access.token {
            Some(token) => {
                let header = HeaderValue::from_str(token.expose());
                let mut header = header.map_err(|_| unreachable("the token is not valid".into()))?;
                header.set_sensitive(true);
                Some((header, token))
            }
            None => None,
        };
        let tls =
            access.tls.map_or_else(|| Files::default().load(), Ok).map_err(|error| unreachable(error.to_string()))?;
        let client = client(&tls).map_err(unreachable)?;
        Ok(Self { client, server: server.to_owned(), agents, current: AtomicUsize::new(0), token, stranger })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// A read that answers JSON; `None` when there is nothing.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        op: &'static str,
        target: &str,
        path: &str,
    ) -> Result<Option<T>> {
        let answer = self.send(Call::get(op, target)).await.map_err(|error| at(error, path))?;
        if answer.status == StatusCode::NOT_FOUND {
            // an agent tells its index with every answer
            if answer.index == 0 {
                return Err(self.unreachable("the server there is not a Consul agent".into()));
            }
            return Ok(None);
        }
        self.json(&self.good(answer, path)?.body, path).map(Some)
    }

    /// Sends a request to one agent, within its limit and the caller's deadline. One that answers badly is left for the next:
    /// it takes no connection, breaks one, says nothing for a while, or cannot serve. Any status is an answer.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer> {
        // nothing is logged in it at other levels, and there are many
        let span = tracing::debug_span!(
            "topo",
            vitess.topo.op = call.op,
            vitess.topo.path = call.target,
            server.address = %self.server
        );
        match tokio::time::timeout(deadline::remaining(call.limit()), self.in_turn(&call).instrument(span)).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::Timeout(call.target.to_owned())),
        }
    }

    async fn in_turn(&self, call: &Call<'_>) -> Result<Answer> {
        // a kept connection may have broken since it was last used
        let tries = self.agents.len().max(if call.repeats { 2 } else { 1 });
        let mut last = Err(Error::Timeout(call.target.to_owned()));
        for tried in 1..=tries {
            let at = self.current.load(Ordering::Acquire);
            let Some(agent) = self.agents.get(at % self.agents.len()) else { break };
            let others = if self.agents.len() > 1 { tries - tried } else { 0 };
            let (answered, again) = match self.ask(agent, call, call.timeout(others)).await {
                Ok(answer) if !answer.status.is_server_error() => return Ok(answer),
                Ok(answer) => {
                    let again = call.repeats || is_refused(&answer);
                    (Ok(answer), again)
                }
                Err(Failure::Connect(detail)) => (Err(self.unreachable(detail)), true),
                Err(Failure::Broken(detail)) => (Err(self.unreachable(detail)), call.repeats),
                Err(Failure::Silent) => (Err(Error::Timeout(call.target.to_owned())), call.repeats),
            };
            // what an agent says tells more than that another one is dead
            if answered.is_ok() || last.is_err() {
                last = answered;
            }
            self.leave(at);
            if !again {
                break;
            }
        }
        last
    }

    /// From now on another agent is asked, unless that is so already.
    fn leave(&self, at: usize) {
        self.current.compare_exchange(at, at.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire).ok();
    }

    /// Asks one agent, which must begin its answer within `limit`.
    async fn ask(&self, agent: &str, call: &Call<'_>, limit: Duration) -> std::result::Result<Answer, Failure> {
        let broken = |detail: String| Failure::Broken(detail);
        let mut request = Request::builder().method(call.method.clone()).uri(format!("{agent}{}", call.target));
        if let Some((token, _)) = &self.token {
            request = request.header("X-Consul-Token", token);
        }
        let request = request.body(Full::new(call.body.clone())).map_err(|e| broken(e.to_string()))?;
        let answer = tokio::time::timeout(limit, self.client.request(request)).await;
        let answer = answer.map_err(|_| Failure::Silent)?.map_err(|error| {
            let detail = with_cause(&error.to_string(), &error);
            if error.is_connect() { Failure::Connect(detail) } else { Failure::Broken(detail) }
        })?;
        let status = answer.status();
        let index = answer.headers().get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        Ok(Answer { status, index: index.unwrap_or_default(), body })
    }

    /// The answer, when its status is one of success.
    ///
    /// # Errors
    /// What the status means for the record at `path`.
    pub(super) fn good(&self, answer: Answer, path: &str) -> Result<Answer> {
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.text(&answer.body);
        let path = path.to_owned();
        Err(match status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                Error::Backend { path, detail: format!("{NOT_ALLOWED}: {text}") }
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => {
                Error::ResourceExhausted(format!("{path}: {text}"))
            }
            _ if status.is_server_error() => self.unreachable(format!("{status}: {text}")),
            _ => Error::Backend { path, detail: format!("{status}: {text}") },
        })
    }

    /// Decodes an answer. The parser's own words would quote it.
    pub(super) fn json<T: DeserializeOwned>(&self, body: &[u8], path: &str) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            let detail = format!("bad answer of Consul: line {}, column {}", error.line(), error.column());
            Error::Backend { path: path.to_owned(), detail }
        })
    }

    fn unreachable(&self, detail: String) -> Error {
        Error::Unreachable { kind: "consul".into(), server: self.server.clone(), detail }
    }

    /// The beginning of an answer's text on one line. Some versions quote the token. What answers at an address that only a
    /// request named may be no Consul, and its text not for the caller.
    pub(super) fn text(&self, body: &[u8]) -> String {
        if self.stranger {
            return "its message is not shown, because no setting names this server".into();
        }
        let text: String = String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" ");
        let text = match &self.token {
            Some((_, token)) if !token.expose().is_empty() => text.replace(token.expose(), "***"),
            _ => text,
        };
        text.chars().take(300).collect()
    }
}

/// Whether an agent says that nothing was done because it found no leader.
fn is_refused(answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    ["No cluster leader", "node is not the leader"].iter().any(|part| text.contains(part))
}

/// The error with the record's path in place of the request's.
fn at(error: Error, path: &str) -> Error {
    match error {
        Error::Timeout(_) => Error::Timeout(path.to_owned()),
        other => other,
    }
}

enum Failure {
    /// No connection came about: nothing was sent.
    Connect(String),
    Broken(String),
    Silent,
}

fn client(tls: &Tls) -> std::result::Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    let config = Arc::unwrap_or_clone(tls.config());
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    let https = match tls.server_name() {
        Some(name) => {
            let name = rustls::pki_types::ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
            builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name)).enable_http1()
        }
        None => builder.enable_http1(),
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(https.wrap_connector(tcp)))
}
