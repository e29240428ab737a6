//! The client behind `vtmigrated health`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use crate::cli::health::Health;
use crate::http_get;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Asks and prints the answer. The exit code is 0 for healthy, else 1.
pub async fn run(health: &Health) -> ExitCode {
    match tokio::time::timeout(health.timeout, ask(health)).await {
        Ok(Ok(answer)) => {
            println!("{answer}");
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) => eprintln!("{error}"),
        Err(_) => eprintln!("no answer within {}", humantime::format_duration(health.timeout)),
    }
    ExitCode::FAILURE
}

async fn ask(health: &Health) -> Result<String, String> {
    let Health { port, bind_address, page: path, .. } = health;
    let (status, body) = if bind_address.is_empty() {
        // no name to look up: an image need not have /etc/hosts
        let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), SocketAddr::from((Ipv6Addr::LOCALHOST, *port))];
        http_get::page(&loopback[..], "localhost", path, MAX_ANSWER).await
    } else {
        let host = bind_address.trim_matches(['[', ']']);
        http_get::page((host, *port), bind_address, path, MAX_ANSWER).await
    }
    .map_err(|error| format!("port {port}: {error}"))?;
    let body = String::from_utf8_lossy(&body).trim().to_owned();
    if status.is_success() { Ok(body) } else { Err(format!("{path} answers {status}: {body}")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    fn health(port: u16, page: &str) -> Health {
        Health { port, bind_address: String::new(), page: page.into(), timeout: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn the_answer_is_the_servers() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Router::new()
            .route("/readyz", get(async || "ok\n"))
            .route("/stopping", get(async || (StatusCode::SERVICE_UNAVAILABLE, "not ok: stopping")));
        let server = tokio::spawn(async { axum::serve(listener, pages).await });
        assert_eq!(ask(&health(port, "/readyz")).await.unwrap(), "ok");
        let refused = ask(&health(port, "/stopping")).await.unwrap_err();
        assert_eq!(refused, "/stopping answers 503 Service Unavailable: not ok: stopping");
        let named = Health { bind_address: "127.0.0.1".into(), ..health(port, "/readyz") };
        assert_eq!(ask(&named).await.unwrap(), "ok");
        server.abort();
        server.await.unwrap_err();
        assert!(ask(&health(port, "/readyz")).await.unwrap_err().starts_with(&format!("port {port}: ")));
    }
}
