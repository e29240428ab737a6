//! Changes of a source, read from its binlog (`VStream`).
