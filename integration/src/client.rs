//! Typed gRPC clients of what the tests call.

use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use vtmigrated_proto::{
    queryservice::query_client::QueryClient,
    tabletmanagerservice::tablet_manager_client::TabletManagerClient,
    vtctldata::ExecuteVtctlCommandRequest,
    vtctlservice::{vtctl_client::VtctlClient, vtctld_client::VtctldClient},
};

/// The largest message that Vitess's programs send and take, 16 MiB.
pub const MESSAGE_LIMIT: usize = 16 << 20;
const DIAL: Duration = Duration::from_secs(5);

/// `vtctlclient`'s `--action_timeout`, in nanoseconds.
const ACTION_TIMEOUT: i64 = 3_600_000_000_000;

/// A client of `vtctlservice.Vtctl`.
pub type Vtctl = VtctlClient<Channel>;
/// A client of `vtctlservice.Vtctld`.
pub type Vtctld = VtctldClient<Channel>;
/// A client of `queryservice.Query`.
pub type Query = QueryClient<Channel>;
/// A client of `tabletmanagerservice.TabletManager`.
pub type TabletManager = TabletManagerClient<Channel>;

/// A connection to `address` (`host:port`), without TLS.
///
/// # Errors
/// Nobody listens there.
pub async fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(DIAL).tcp_nodelay(true).connect().await
}

/// A client of the vtctld at `address` (`host:port`).
///
/// # Errors
/// Nobody listens there.
pub async fn vtctld(address: &str) -> Result<Vtctld, tonic::transport::Error> {
    let client = VtctldClient::new(channel(address).await?);
    Ok(client.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
}

/// A client of the query service of the tablet at `address` (`host:port`).
///
/// # Errors
/// Nobody listens there.
pub async fn query(address: &str) -> Result<Query, tonic::transport::Error> {
    let client = QueryClient::new(channel(address).await?);
    Ok(client.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
}

/// A client of the tablet manager at `address` (`host:port`).
///
/// # Errors
/// Nobody listens there.
pub async fn tablet_manager(address: &str) -> Result<TabletManager, tonic::transport::Error> {
    let client = TabletManagerClient::new(channel(address).await?);
    Ok(client.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
}

/// A client of the service of legacy commands at `address` (`host:port`).
///
/// # Errors
/// Nobody listens there.
pub async fn vtctl(address: &str) -> Result<Vtctl, tonic::transport::Error> {
    Ok(VtctlClient::new(channel(address).await?).max_decoding_message_size(MESSAGE_LIMIT))
}

/// Runs a legacy command as `vtctlclient` does, its arguments separated by blanks: what it printed, and how it failed.
pub async fn run(client: &mut Vtctl, line: &str) -> (String, Result<(), Status>) {
    let mut printed = String::new();
    let args = line.split_whitespace().map(str::to_owned).collect();
    let request = ExecuteVtctlCommandRequest { args, action_timeout: ACTION_TIMEOUT };
    let mut events = match client.execute_vtctl_command(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (printed, Err(status)),
    };
    loop {
        match events.message().await {
            Ok(Some(answer)) => printed.push_str(&answer.event.map(|event| event.value).unwrap_or_default()),
            Ok(None) => return (printed, Ok(())),
            Err(status) => return (printed, Err(status)),
        }
    }
}
