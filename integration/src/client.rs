//! Typed gRPC clients of what the tests call.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use vtmigrated_proto::{
    queryservice::query_client::QueryClient, tabletmanagerservice::tablet_manager_client::TabletManagerClient,
    vtctlservice::vtctld_client::VtctldClient,
};

/// The largest message that Vitess's programs send and take, 16 MiB.
pub const MESSAGE_LIMIT: usize = 16 << 20;
const DIAL: Duration = Duration::from_secs(5);

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
