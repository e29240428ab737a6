//! Flags of the gRPC server, and of all gRPC connections.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "gRPC")]
pub struct GrpcArgs {
    /// Port of the gRPC server
    #[arg(long, default_value_t = 15999, value_name = "PORT")]
    pub grpc_port: u16,
    /// Address that the gRPC server listens on; all when empty
    #[arg(long, default_value = "", value_name = "HOST")]
    pub grpc_bind_address: String,
    /// Services to offer, grpc-vtctld and grpc-vtctl, or with a - before the name not to; all when absent
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub service_map: Vec<String>,
    /// Largest gRPC message, in bytes
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    pub grpc_max_message_size: usize,
    /// Age at which a client's connection is asked to end
    #[arg(long, default_value = "2562047h47m16.854775807s", value_parser = duration, value_name = "DURATION")]
    pub grpc_max_connection_age: Duration,
    /// How long calls may go on after that
    #[arg(long, default_value = "2562047h47m16.854775807s", value_parser = duration, value_name = "DURATION")]
    pub grpc_max_connection_age_grace: Duration,
    /// HTTP/2 window of a client's call, in bytes; the library's when 0
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_server_initial_window_size: u32,
    /// HTTP/2 window of a client's connection, in bytes; the library's when 0
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_server_initial_conn_window_size: u32,
    /// Clients are pinged when their connection was silent for so long
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_server_keepalive_time: Duration,
    /// Connections whose ping is not answered within this time are closed
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_server_keepalive_timeout: Duration,
    /// Tablets are pinged when their connection was silent for so long
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_keepalive_time: Duration,
    /// Connections to tablets whose ping is not answered within this time are closed
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_keepalive_timeout: Duration,
    /// HTTP/2 window of a call to a tablet, in bytes; the library's when 0
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_initial_window_size: u32,
    /// HTTP/2 window of a connection to a tablet, in bytes; the library's when 0
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_initial_conn_window_size: u32,
    /// Compression of calls to tablets: snappy, or none when empty
    #[arg(long, default_value = "", value_name = "NAME")]
    pub grpc_compression: String,
}
