//! Forwards calls, byte for byte, to a stock vtctld of the same cluster.
//!
//! Nothing is decoded but what a change is about, for its line in the audit log: compression that caller and fallback agree on, messages of any size, metadata and deadline pass as
//! they are, both ways; the context of a trace is that of this program's span when there are traces, else the caller's. A
//! caller that goes away ends its call there, too.

mod compare;
mod relay;
pub mod shadow;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, TE};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, TimeoutExpired};
use tower::{Service, ServiceExt};

use self::relay::Relayed;
use self::shadow::Shadow;
use crate::error::with_cause;
use crate::server::audit::Entry;
use crate::telemetry::shadow::Counts;
use crate::telemetry::traces;
use crate::tls::Tls;

/// A fallback that is down is noticed after this time at the latest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Trailers with long error texts and details, in bytes.
const MAX_HEADERS: u32 = 1 << 20;
/// Metadata of calls that were forwarded: they are not forwarded again.
const FORWARDED: &str = "vtmigrated-forwarded";

/// User and password that the fallback is shown, as stock clients show them.
#[derive(Clone)]
pub struct Credentials {
    username: HeaderValue,
    password: HeaderValue,
}

impl Credentials {
    /// `None` when they cannot be metadata.
    pub fn new(username: &str, password: &str) -> Option<Self> {
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Some(Self { username: value(username)?, password: value(password)? })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The `--fallback-*` and `--shadow-rpcs` flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    /// Plain without.
    pub tls: Option<Tls>,
    /// In place of the caller's.
    pub credentials: Option<Credentials>,
    /// RPCs to forward even though they are served here.
    pub rpcs: BTreeSet<String>,
    /// RPCs that are asked in both places.
    pub shadow: BTreeSet<String>,
    /// Bytes of a request that has to be looked at before it is forwarded.
    pub max_message: usize,
}

/// A fallback that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("bad value for --fallback-vtctld-server: {address}: {detail}")]
pub struct Error {
    address: String,
    detail: String,
}

/// The kept connection to the fallback. It is opened when first used, and again when it breaks.
#[derive(Debug)]
pub struct Fallback {
    options: Options,
    channel: Channel,
    shadow: Option<Shadow>,
}

impl Fallback {
    /// Opens nothing yet; differences are counted in `counts`.
    ///
    /// # Errors
    /// The address cannot be one, or the certificates cannot be used.
    pub fn new(options: Options, counts: Arc<Counts>) -> Result<Self, Error> {
        let bad = |detail: String| Error { address: options.address.clone(), detail };
        let endpoint = Endpoint::from_shared(format!("http://{}", options.address));
        let endpoint = endpoint
            .map_err(|error| bad(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        let channel = match &options.tls {
            Some(tls) => tls.connect_lazy(&endpoint),
            None => endpoint.connect_lazy(),
        };
        let shadow = (!options.shadow.is_empty()).then(|| Shadow::new(options.shadow.clone(), counts));
        Ok(Self { channel, shadow, options })
    }

    /// True for RPCs that go there by `--fallback-rpcs`.
    pub fn takes(&self, rpc: &str) -> bool {
        self.options.rpcs.contains(rpc)
    }

    /// What is asked in both places, if anything.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// Largest request that is kept in memory to be forwarded.
    pub fn max_message(&self) -> usize {
        self.options.max_message
    }

    /// The fallback's answer, or UNAVAILABLE with its address.
    pub async fn forward(&self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        tracing::debug!(rpc.method = path, server.address = self.options.address, "forwarded");
        let (request, line) = Entry::forwarded(request, &self.options.address).await;
        match self.send(request).await {
            Ok(response) => {
                let line = match (line, Status::from_header_map(response.headers())) {
                    (Some(line), Some(status)) => {
                        line.end_with(status.code());
                        None
                    }
                    (line, _) => line,
                };
                let address: Arc<str> = self.options.address.as_str().into();
                response.map(|body| Body::new(Relayed::new(body, address, line)))
            }
            Err(status) => {
                if let Some(line) = line {
                    line.end_with(status.code());
                }
                tracing::warn!(rpc.method = path, "not forwarded: {}", status.message());
                status.into_http()
            }
        }
    }

    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path();
        if parts.headers.contains_key(FORWARDED) {
            let rpc = path.trim_start_matches('/');
            let text = format!("{rpc} was forwarded already: --fallback-vtctld-server leads back to vtmigrated");
            return Err(Status::failed_precondition(text));
        }
        // the channel puts scheme and address in front
        parts.uri = path.parse().map_err(|_| Status::internal("the path is not valid"))?;
        parts.version = http::Version::HTTP_2;
        parts.extensions.clear();
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        parts.headers.insert(FORWARDED, HeaderValue::from_static("1"));
        traces::inject(&mut parts.headers);
        if let Some(credentials) = &self.options.credentials {
            parts.headers.insert("username", credentials.username.clone());
            parts.headers.insert("password", credentials.password.clone());
        }
        let mut channel = self.channel.clone();
        let sent = async { channel.ready().await?.call(http::Request::from_parts(parts, body)).await };
        sent.await.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &tonic::transport::Error) -> Status {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if inner.is::<TimeoutExpired>() {
                return Status::deadline_exceeded(format!(
                    "no answer from the fallback {} in time",
                    self.options.address
                ));
            }
            cause = inner.source();
        }
        unavailable(&self.options.address, &with_cause("", error))
    }
}

/// The fallback is down, or went away in the middle of its answer.
fn unavailable(address: &str, detail: &str) -> Status {
    let detail = detail.trim_start_matches(": ");
    Status::new(Code::Unavailable, format!("the vtctld {address} (--fallback-vtctld-server) does not answer: {detail}"))
}
