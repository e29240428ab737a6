//! Settings of the gRPC server.

use std::time::Duration;

use tonic::transport::Server;

/// Bytes of one call's headers.
const MAX_HEADERS: u32 = 64 << 10;
/// Calls that a client may open and reset before its connection is closed.
const MAX_RESETS: usize = 50;

/// Services that clients may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    /// `vtctlservice.Vtctld`.
    pub vtctld: bool,
    /// `vtctlservice.Vtctl`, of the older client.
    pub vtctl: bool,
}

impl Services {
    /// From `--service_map`: names switch on, names after a dash switch off. What is on before is none, as in stock, or all
    /// when the map names none to switch on.
    pub fn from_map(map: &[String]) -> Self {
        let names: Vec<&str> = map.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        let before = names.iter().all(|name| name.starts_with('-'));
        let mut services = Self { vtctld: before, vtctl: before };
        for name in names {
            let (name, on) = name.strip_prefix('-').map_or((name, true), |name| (name, false));
            match name {
                "grpc-vtctld" => services.vtctld = on,
                "grpc-vtctl" => services.vtctl = on,
                _ => {}
            }
        }
        services
    }

    /// Full names of those that are off.
    pub fn hidden(&self) -> Vec<&'static str> {
        let services = [(self.vtctld, "vtctlservice.Vtctld"), (self.vtctl, "vtctlservice.Vtctl")];
        services.into_iter().filter(|(on, _)| !on).map(|(_, name)| name).collect()
    }
}

/// The `--grpc_*` flags of the server.
#[derive(Clone, Debug)]
pub struct Options {
    pub services: Services,
    /// In bytes, both ways.
    pub max_message: usize,
    /// A connection of this age is asked to end; `None`: never.
    pub max_connection_age: Option<Duration>,
    /// How long its calls may go on then; `None`: as long as they take.
    pub max_connection_age_grace: Option<Duration>,
    /// HTTP/2 windows in bytes; `None`: the library's.
    pub stream_window: Option<u32>,
    pub connection_window: Option<u32>,
    /// A silent connection is pinged after this time; `None`: never.
    pub keepalive_time: Option<Duration>,
    /// A ping that is not answered within this time ends the connection.
    pub keepalive_timeout: Duration,
}

impl Options {
    /// A server with these settings. Pings of clients are answered at any rate.
    pub fn builder(&self) -> Server {
        let mut server = Server::builder()
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .http2_keepalive_interval(self.keepalive_time)
            .http2_keepalive_timeout(Some(self.keepalive_timeout))
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_max_pending_accept_reset_streams(Some(MAX_RESETS));
        if let Some(age) = self.max_connection_age {
            server = server.max_connection_age(age);
            if let Some(grace) = self.max_connection_age_grace {
                server = server.max_connection_age_grace(grace);
            }
        }
        server
    }
}
