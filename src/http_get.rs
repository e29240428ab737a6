//! Reads a page of an HTTP server without TLS.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, ToSocketAddrs};

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or who does hangs up.
    #[error("{0}")]
    Connection(String),
    /// The page cannot be asked for, or is too large.
    #[error("{0}")]
    Page(String),
}

/// The status and the body of the page `path`, of at most `max` bytes. The addresses of `at` are tried in turn.
///
/// # Errors
/// No connection, or no such body.
pub async fn page(at: impl ToSocketAddrs, host: &str, path: &str, max: usize) -> Result<(StatusCode, Bytes), Error> {
    let unreachable = |error: &dyn std::error::Error| Error::Connection(error.to_string());
    let stream = TcpStream::connect(at).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::Page(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), max).collect().await;
        Ok((status, body.map_err(|error| Error::Page(error.to_string()))?.to_bytes()))
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
