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
    /// Services to enable, grpc-vtctld and grpc-vtctl, or to disable with a - before the name; all when absent
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub service_map: Vec<String>,
    /// Largest gRPC message, in bytes
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    pub grpc_max_message_size: usize,
    /// Maximum age of a client's connection
    #[arg(long, default_value = "2562047h47m16.854775807s", value_parser = duration, value_name = "DURATION")]
    pub grpc_max_connection_age: Duration,
    /// How long calls may continue after that
    #[arg(long, default_value = "2562047h47m16.854775807s", value_parser = duration, value_name = "DURATION")]
    pub grpc_max_connection_age_grace: Duration,
    /// HTTP/2 window of a client's call, in bytes; 0: the library's default
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_server_initial_window_size: u32,
    /// HTTP/2 window of a client's connection, in bytes; 0: the library's default
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_server_initial_conn_window_size: u32,
    /// Ping clients whose connection has been idle for this long
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_server_keepalive_time: Duration,
    /// Close client connections that do not answer a ping within this time
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_server_keepalive_timeout: Duration,
    /// Ping tablets whose connection has been idle for this long
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_keepalive_time: Duration,
    /// Close tablet connections that do not answer a ping within this time
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub grpc_keepalive_timeout: Duration,
    /// HTTP/2 window of a call to a tablet, in bytes; 0: the library's default
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_initial_window_size: u32,
    /// HTTP/2 window of a connection to a tablet, in bytes; 0: the library's default
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub grpc_initial_conn_window_size: u32,
    /// Compression of calls to tablets: snappy, or none when empty
    #[arg(long, default_value = "", value_name = "NAME")]
    pub grpc_compression: String,
}
