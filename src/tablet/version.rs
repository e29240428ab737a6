//! The one thing that is asked of tablets over HTTP: the version that they run (`/debug/vars`).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use vtmigrated_proto::topodata::Tablet;

use super::{Client, Error, Result, address_of, alias};
use crate::deadline;
use crate::error::Code;

const METHOD: &str = "/debug/vars";
/// Largest page of variables that is read, in bytes.
const MAX_PAGE: usize = 16 << 20;

/// What is wanted of the page. Others stay out of the way.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Vars {
    build_host: String,
    build_user: String,
    build_timestamp: i64,
    build_git_rev: String,
}

impl Client {
    /// The version of a tablet, as stock prints it: `{<host> <user> <time> <revision>}` of its build.
    pub async fn version(&self, tablet: &Tablet) -> Result<String> {
        let (alias, address) = (alias(tablet), address_of(tablet, "vt"));
        let limit: Duration = deadline::remaining(self.short());
        match tokio::time::timeout(limit, page(&address)).await {
            Err(_) => Err(Error::Slow { alias, address, method: METHOD, seconds: limit.as_secs() }),
            Ok(Err(Failure::Connection(detail))) => Err(Error::Unreachable { alias, address, method: METHOD, detail }),
            Ok(Err(Failure::Page(detail))) => {
                let message = format!("http://{address}{METHOD} of tablet {alias}: {detail}");
                Err(Error::Answered { alias, method: METHOD, code: Code::Unavailable, message })
            }
            Ok(Ok(vars)) => {
                let Vars { build_host, build_user, build_timestamp, build_git_rev } = vars;
                Ok(format!("{{{build_host} {build_user} {build_timestamp} {build_git_rev}}}"))
            }
        }
    }
}

enum Failure {
    Connection(String),
    Page(String),
}

async fn page(address: &str) -> std::result::Result<Vars, Failure> {
    let unreachable = |error: &dyn std::error::Error| Failure::Connection(error.to_string());
    let bad = |detail: String| Failure::Page(detail);
    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let request = http::Request::get(METHOD)
        .header(http::header::HOST, address)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            return Err(bad(format!("HTTP status {}", response.status())));
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
