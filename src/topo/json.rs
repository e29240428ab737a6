//! Stored records as protobuf JSON, through the descriptors of the contract.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

/// All messages of the contract.
pub fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).ok()).as_ref()
}

/// An encoded message as compact JSON with the field names of its definition; `None` when it cannot be decoded.
pub fn of(message: &str, bytes: &[u8]) -> Option<String> {
    let descriptor = pool()?.get_message_by_name(message)?;
    let decoded = DynamicMessage::decode(descriptor, bytes).ok()?;
    let mut json = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true);
    decoded.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options).ok()?;
    String::from_utf8(json).ok()
}
