//! Reads a page of an HTTP server without TLS.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, ToSocketAddrs};

/// The status and the body of `path`; the addresses are tried in turn.
///
/// # Errors
/// A text: nobody listens, it does not speak HTTP, or the body is longer than `max` bytes.
pub async fn page(at: impl ToSocketAddrs, host: &str, path: &str, max: usize) -> Result<(StatusCode, Bytes), String> {
    let stream = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), max).collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(connection, answer);
    // the connection does the reading and writing that the answer waits for
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(|e| e.to_string())?;
            answer.await
        }
    }
}
