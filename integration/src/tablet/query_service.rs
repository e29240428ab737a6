//! The gRPC service `queryservice.Query`.
