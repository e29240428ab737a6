//! Keyspace ids of rows.
