//! A tablet's variables: the page `/debug/vars` of its status port, all that is asked of tablets over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::deadline;

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

/// Reads the page at `address` (`host:port`), for at most `limit`.
pub async fn read<T: DeserializeOwned>(address: &str, limit: Duration) -> Result<T, Failure> {
    let limit = deadline::remaining(limit);
    let slow = |_| Failure::Slow { seconds: limit.as_secs() };
    tokio::time::timeout(limit, page(address)).await.map_err(slow)?
}

async fn page<T: DeserializeOwned>(address: &str) -> Result<T, Failure> {
    let unreachable = |error: &dyn std::error::Error| Failure::Connection(error.to_string());
    let bad = |detail: String| Failure::Page(detail);
    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let request = http::Request::get(PATH)
        .header(http::header::HOST, address)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_PAGE).collect().await;
        let body = body.map_err(|error| bad(error.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
    };
    tokio::pin!(connection, answer);
    // the connection does the reading and writing that the answer waits for
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(|error| unreachable(&error))?;
            answer.await
        }
    }
}
