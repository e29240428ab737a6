//! The text form of protobuf messages, in which the sidecar tables keep stream sources and last keys.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, text_format::FormatOptions};
use std::sync::OnceLock;
use vtmigrated_proto::{DESCRIPTORS, binlogdata::BinlogSource, query::QueryResult, topodata::TabletAlias};

/// Why a text or a message could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("proto: {0}")]
    Text(String),
    #[error("message {0} is not described")]
    Undescribed(&'static str),
    #[error("message cannot be converted: {0}")]
    Wire(#[from] prost::DecodeError),
}

/// A message that has a text form.
pub trait TextForm: Message + Default {
    /// Full protobuf name.
    const NAME: &'static str;
}

impl TextForm for BinlogSource {
    const NAME: &'static str = "binlogdata.BinlogSource";
}

impl TextForm for QueryResult {
    const NAME: &'static str = "query.QueryResult";
}

impl TextForm for TabletAlias {
    const NAME: &'static str = "topodata.TabletAlias";
}

/// One line, `name:value` separated by single blanks, zero values left out, in the order of field numbers. Nested
/// messages are written `name:{…}`, as Go's marshaller does.
///
/// # Errors
/// None that a generated message can cause.
pub fn encode<M: TextForm>(message: &M) -> Result<String, Error> {
    let descriptor = descriptor::<M>()?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let text = dynamic.to_text_format_with_options(&FormatOptions::new().skip_unknown_fields(true));
    Ok(go_style(&text))
}

/// Reads any text form: blanks, line breaks, `name {…}` and `name:{…}` alike.
///
/// # Errors
/// [`Error::Text`] when it is no such message.
pub fn decode<M: TextForm>(text: &[u8]) -> Result<M, Error> {
    let text = std::str::from_utf8(text).map_err(|error| Error::Text(error.to_string()))?;
    let dynamic = DynamicMessage::parse_text_format(descriptor::<M>()?, text)
        .map_err(|error| Error::Text(error.to_string()))?;
    Ok(M::decode(dynamic.encode_to_vec().as_slice())?)
}

fn descriptor<M: TextForm>() -> Result<prost_reflect::MessageDescriptor, Error> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).ok())
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(M::NAME))
        .ok_or(Error::Undescribed(M::NAME))
}

/// Rewrites the library's separators outside strings: `,` between fields to a blank, `a{` to `a:{`.
fn go_style(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ',' => out.push(' '),
            '{' if out.ends_with(|last: char| last.is_alphanumeric() || last == '_') => out.push_str(":{"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
