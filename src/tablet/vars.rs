//! A tablet's variables: the page `/debug/vars` of its status port, all that is asked of tablets over HTTP.

use std::time::Duration;

use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::topo::address::is_host_and_port;
use crate::{deadline, http_get};

/// The page's path.
pub const PATH: &str = "/debug/vars";
/// Largest page that is read, in bytes.
const MAX_PAGE: usize = 16 << 20;

/// Why a page was not read.
pub enum Failure {
    /// No answer within the time given, or left to the call.
    Slow { seconds: u64 },
    /// Nobody listens, or who does hangs up.
    Connection(String),
    /// An answer other than success.
    Status(StatusCode),
    /// The page is too large, or not what was expected.
    Page(String),
}

impl Failure {
    /// A text for people.
    pub fn into_text(self) -> String {
        match self {
            Self::Slow { seconds } => format!("no answer within {seconds} s"),
            Self::Connection(detail) | Self::Page(detail) => detail,
            Self::Status(status) => format!("{PATH} answers {status}"),
        }
    }
}

/// Reads the page at `address` (`host:port`), for at most `limit`.
pub async fn read<T: DeserializeOwned>(address: &str, limit: Duration) -> Result<T, Failure> {
    let limit = deadline::remaining(limit);
    let slow = |_| Failure::Slow { seconds: limit.as_secs() };
    tokio::time::timeout(limit, page(address)).await.map_err(slow)?
}

async fn page<T: DeserializeOwned>(address: &str) -> Result<T, Failure> {
    if !is_host_and_port(address) {
        return Err(Failure::Connection("no host and port".into()));
    }
    let (status, body) = http_get::page(address, address, PATH, MAX_PAGE).await.map_err(|error| match error {
        http_get::Error::Connection(detail) => Failure::Connection(detail),
        http_get::Error::Page(detail) => Failure::Page(detail),
    })?;
    if !status.is_success() {
        return Err(Failure::Status(status));
    }
    // the parser's own words would quote what may be no tablet's
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::Page(format!("{PATH} has unexpected content: line {line}, column {column}"))
    })
}
