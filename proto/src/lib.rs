//! Messages and services of Vitess, generated from the `.proto` files of this folder, one module per package.
//!
//! A map whose values are messages is a `Vec` of entries with `key` and `value`: prost would leave out an empty value,
//! and Go readers of such a map would meet a nil pointer.

#![allow(clippy::all, missing_docs)]

/// All files as a `google.protobuf.FileDescriptorSet`, before the patches that code generation needs.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A tablet type by its name, in letters of any case; the older words for two of them, too, as stock's clients take them.
pub fn tablet_type(name: &str) -> Option<topodata::TabletType> {
    match name.trim().to_ascii_uppercase().as_str() {
        "MASTER" => Some(topodata::TabletType::Primary),
        "BATCH" => Some(topodata::TabletType::Rdonly),
        name => topodata::TabletType::from_str_name(name),
    }
}

pub mod binlogdata {
    tonic::include_proto!("binlogdata");
}
pub mod logutil {
    tonic::include_proto!("logutil");
}
pub mod mysqlctl {
    tonic::include_proto!("mysqlctl");
}
pub mod query {
    tonic::include_proto!("query");
}
pub mod queryservice {
    tonic::include_proto!("queryservice");
}
pub mod querythrottler {
    tonic::include_proto!("querythrottler");
}
pub mod replicationdata {
    tonic::include_proto!("replicationdata");
}
pub mod tabletmanagerdata {
    tonic::include_proto!("tabletmanagerdata");
}
pub mod tabletmanagerservice {
    tonic::include_proto!("tabletmanagerservice");
}
pub mod topodata {
    tonic::include_proto!("topodata");
}
pub mod vschema {
    tonic::include_proto!("vschema");
}
pub mod vtctldata {
    tonic::include_proto!("vtctldata");
}
pub mod vtctlservice {
    tonic::include_proto!("vtctlservice");
}
pub mod vtorcdata {
    tonic::include_proto!("vtorcdata");
}
/// Messages and services of this program's own.
pub mod vtmigrated {
    tonic::include_proto!("vtmigrated");
}
pub mod vtrpc {
    tonic::include_proto!("vtrpc");
}
pub mod vttime {
    tonic::include_proto!("vttime");
}

impl vtctldata::workflow::Stream {
    /// Where the stream reads from; `None` when that is not told, or is no message.
    pub fn source(&self) -> Option<binlogdata::BinlogSource> {
        self.binlog_source.clone().and_then(|message| prost::Message::decode(message).ok())
    }
}
