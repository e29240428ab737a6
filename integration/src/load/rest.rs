//! A server that nobody calls: what its watcher costs, and how large its pages are.

use std::{
    io,
    time::{Duration, Instant},
};

use vtmigrated::http_get;

use super::{Error, PAGE, held::Held, process};
use crate::server;

/// The first rounds after the start are not measured.
const SETTLING: Duration = Duration::from_secs(30);
const PAGES: [&str; 3] = ["/", "/api/mounts", "/api/migrations"];

/// What a server comes to that is left alone for a while, in words.
///
/// # Errors
/// It does not run, or a page cannot be read.
pub async fn look(server: &server::Server, long: Duration) -> Result<String, Error> {
    let pid = server.process().pid().ok_or_else(|| io::Error::other("the server has ended"))?;
    tokio::time::sleep(SETTLING).await;
    let (before, since) = (process::cpu(pid)?, Instant::now());
    tokio::time::sleep(long).await;
    let part = process::cpu(pid)?.saturating_sub(before).as_secs_f64() / since.elapsed().as_secs_f64();
    let held = Held::now(pid)?;
    let mut text = format!("{:.2} % of one core over {long:?}; {held}", part * 100.0);
    let address = server.http_address();
    for path in PAGES {
        let page = http_get::page(address, &address.to_string(), path, PAGE).await.map_err(io::Error::other)?;
        text.push_str(&format!("; {path} {} KiB", page.1.len() >> 10));
        let json: serde_json::Value = serde_json::from_slice(&page.1).unwrap_or_default();
        let listed = ["mounts", "migrations"].iter().find_map(|name| json[name].as_array());
        text.push_str(&listed.map(|listed| format!(" ({} of them)", listed.len())).unwrap_or_default());
    }
    Ok(text)
}
