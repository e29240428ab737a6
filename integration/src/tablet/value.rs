//! Column values: text protocol, binlog, SQL literals.
