//! The version that a tablet's program tells on its status port.

use std::time::Duration;

use vtmigrated_proto::topodata::Tablet;

use crate::{deadline, fetch};

/// Longest page that is read.
const MAX_PAGE: usize = 16 << 20;

/// `BuildVersion` of a tablet's `/debug/vars`, such as `22.0.3`.
///
/// # Errors
/// A text: the record has no status port, nobody answers there within `limit`, or the page does not tell.
pub async fn build_version(tablet: &Tablet, limit: Duration) -> Result<String, String> {
    let port = tablet.port_map.get("vt").copied().filter(|port| *port > 0).ok_or("its record has no status port")?;
    let limit = deadline::remaining(limit);
    match tokio::time::timeout(limit, read(&tablet.hostname, port)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn read(host: &str, port: i32) -> Result<String, String> {
    let port = u16::try_from(port).map_err(|e| e.to_string())?;
    let (status, body) = fetch::page((host, port), &format!("{host}:{port}"), "/debug/vars", MAX_PAGE).await?;
    if !status.is_success() {
        return Err(format!("/debug/vars answers {status}"));
    }
    let body: serde_json::Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    let told = body.get("BuildVersion").and_then(|version| version.as_str()).filter(|version| !version.is_empty());
    told.map(str::to_owned).ok_or_else(|| "/debug/vars tells no BuildVersion".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn told(page: &'static str) -> Result<String, String> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = i32::from(listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /debug/vars HTTP/1.1\r\n"));
            stream.write_all(page.as_bytes()).await.unwrap();
        });
        let tablet =
            Tablet { hostname: "127.0.0.1".into(), port_map: [("vt".to_owned(), port)].into(), ..Tablet::default() };
        let answer = build_version(&tablet, Duration::from_secs(5)).await;
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_tells_the_version() {
        let page = "HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{\"BuildVersion\": \"22.0.3\"}";
        assert_eq!(told(page).await.unwrap(), "22.0.3");
        assert!(told("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap_err().contains("404"));
        assert!(told("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.is_err());
        assert!(build_version(&Tablet::default(), Duration::from_secs(1)).await.is_err());
    }
}
