//! The version that a tablet's program tells on its status port.

use std::time::Duration;

use vtmigrated_proto::topodata::Tablet;

use super::address_of;
use super::vars::{self, Failure};

/// `BuildVersion` of a tablet's `/debug/vars`, such as `22.0.3`.
///
/// # Errors
/// A text: the record has no status port, nobody answers there within `limit`, or the page does not tell.
pub async fn build_version(tablet: &Tablet, limit: Duration) -> Result<String, String> {
    if tablet.port_map.get("vt").is_none_or(|port| *port <= 0) {
        return Err("its record has no status port".to_owned());
    }
    let page: serde_json::Value = vars::read(&address_of(tablet, "vt"), limit).await.map_err(Failure::into_text)?;
    let told = page.get("BuildVersion").and_then(|version| version.as_str()).filter(|version| !version.is_empty());
    told.map(str::to_owned).ok_or_else(|| format!("{} reports no BuildVersion", vars::PATH))
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
