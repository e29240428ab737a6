//! Keyspace ids of column values, key ranges, and the vindexes that a stream's filter names.
//!
//! The ids are those of Vitess 22.0.3. Vindexes that need a table or a file of their own are not here.

mod unicode;

use des::{
    Des,
    cipher::{BlockEncrypt, KeyInit},
};
use md5::{Digest, Md5};
use twox_hash::XxHash64;
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace, SrvVSchema};

/// Why a row has no keyspace id. Where stock has a text for it, the text is stock's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("vindex {0} not found")]
    NotFound(String),
    #[error("ambiguous vindex reference: {0}")]
    Ambiguous(String),
    #[error("vindex must be Unique to be used for VReplication: {0}")]
    NotUnique(String),
    #[error("vindex type {0} is not supported by this tablet")]
    Unsupported(String),
    #[error("keyspace {0} not found in vschema")]
    NoKeyspace(String),
    #[error("table {0} not found")]
    NoTable(String),
    #[error("table {0} has no vindex")]
    NoVindex(String),
    #[error("malformed spec: doesn't define a range: {0:?}")]
    NoRange(String),
    #[error("malformed spec: shard limits should be in order: {0:?}")]
    RangeOrder(String),
    #[error("{vindex}.Map: cannot normalize string containing invalid UTF-8: {text:?}")]
    NotUtf8 { vindex: &'static str, text: String },
    #[error("{vindex}.Map: the weight of U+{code:04X} is not known to this tablet")]
    NoWeight { vindex: &'static str, code: u32 },
}

/// A function from one column value to a keyspace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vindex {
    Hash,
    XxHash,
    Binary,
    BinaryMd5,
    Numeric,
    ReverseBits,
    Null,
    UnicodeLooseMd5,
    UnicodeLooseXxHash,
}

impl Vindex {
    /// The vindex of a type's name as vschemas have it.
    ///
    /// # Errors
    /// [`Error::NotUnique`], [`Error::Unsupported`], or [`Error::NotFound`] for a name that Vitess does not know either.
    pub(crate) fn of_type(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "hash" => Self::Hash,
            "xxhash" => Self::XxHash,
            "binary" => Self::Binary,
            "binary_md5" => Self::BinaryMd5,
            "numeric" => Self::Numeric,
            "reverse_bits" => Self::ReverseBits,
            "null" => Self::Null,
            "unicode_loose_md5" => Self::UnicodeLooseMd5,
            "unicode_loose_xxhash" => Self::UnicodeLooseXxHash,
            "lookup" | "lookup_hash" | "lookup_unicodeloosemd5_hash" | "consistent_lookup" => {
                return Err(Error::NotUnique(name.to_owned()));
            }
            "numeric_static_map"
            | "cfc"
            | "region_experimental"
            | "region_json"
            | "multicol"
            | "lookup_unique"
            | "lookup_hash_unique"
            | "lookup_unicodeloosemd5_hash_unique"
            | "consistent_lookup_unique" => {
                return Err(Error::Unsupported(name.to_owned()));
            }
            _ => return Err(Error::NotFound(name.to_owned())),
        })
    }

    /// The id of a value in the text protocol's form; `None` when the value has none. `signed` says that the column is a
    /// signed integer: only there may `hash` and `reverse_bits` meet a minus sign.
    ///
    /// # Errors
    /// The `unicode_loose` vindexes refuse bytes that are no UTF-8, and characters beyond ASCII and accented Latin letters.
    pub fn keyspace_id(self, value: Option<&[u8]>, signed: bool) -> Result<Option<Vec<u8>>, Error> {
        let text = value.unwrap_or_default();
        let number = || integer(value?, signed);
        Ok(match self {
            Self::Hash => number().map(des),
            Self::Numeric => value.and_then(|value| integer(value, false)).map(|n| n.to_be_bytes().to_vec()),
            Self::ReverseBits => number().map(|n| n.reverse_bits().to_be_bytes().to_vec()),
            Self::XxHash => Some(xxhash(text)),
            Self::Binary => Some(text.to_vec()),
            Self::BinaryMd5 => Some(Md5::digest(text).to_vec()),
            Self::Null => Some(vec![0]),
            Self::UnicodeLooseMd5 => Some(Md5::digest(unicode::key("UnicodeLooseMD5", text)?).to_vec()),
            Self::UnicodeLooseXxHash => Some(xxhash(&unicode::key("UnicodeLooseXXHash", text)?)),
        })
    }
}

/// A range of keyspace ids, `[start, end)`; an empty bound is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Vec<u8>,
}

impl KeyRange {
    /// Reads `-80`, `80-c0`, `-`, and `0` for everything.
    ///
    /// # Errors
    /// [`Error::NoRange`], [`Error::RangeOrder`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == "0" {
            return Ok(Self::default());
        }
        let wrong = || Error::NoRange(text.to_owned());
        let (start, end) = text.split_once('-').ok_or_else(wrong)?;
        let range = Self { start: bound(start).ok_or_else(wrong)?, end: bound(end).ok_or_else(wrong)? };
        if !range.end.is_empty() && range.start >= range.end {
            return Err(Error::RangeOrder(text.to_owned()));
        }
        Ok(range)
    }

    /// Whether the id is inside; zero bytes at an end do not count.
    #[must_use]
    pub fn contains(&self, keyspace_id: &[u8]) -> bool {
        let id = strip(keyspace_id);
        (self.start.is_empty() || self.start.as_slice() <= id) && (self.end.is_empty() || id < self.end.as_slice())
    }
}

/// The vindex that a filter names. `keyspace.vindex` must be defined there; a bare name is looked for in all keyspaces and,
/// when none defines it, taken for a type.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`], and those of [`Vindex::of_type`].
pub(crate) fn find(vschema: &SrvVSchema, reference: &str) -> Result<Vindex, Error> {
    let defined = |keyspace: &Keyspace, name: &str| {
        let entry = keyspace.vindexes.iter().find(|entry| entry.key == name)?;
        Some(entry.value.as_ref().map(|vindex| vindex.r#type.clone()).unwrap_or_default())
    };
    let kind = match reference.split_once('.') {
        Some((keyspace, name)) => {
            let found = self::keyspace(vschema, keyspace).and_then(|keyspace| defined(keyspace, name));
            found.ok_or_else(|| Error::NotFound(reference.to_owned()))?
        }
        None => {
            let keyspaces = vschema.keyspaces.iter().filter_map(|entry| entry.value.as_ref());
            let mut found: Vec<String> = keyspaces.filter_map(|keyspace| defined(keyspace, reference)).collect();
            if found.len() > 1 {
                return Err(Error::Ambiguous(reference.to_owned()));
            }
            found.pop().unwrap_or_else(|| reference.to_owned())
        }
    };
    Vindex::of_type(&kind).map_err(|error| match error {
        Error::NotUnique(_) => Error::NotUnique(reference.to_owned()),
        other => other,
    })
}

/// The first vindex of a table and its columns, for `in_keyrange('-80')`.
///
/// # Errors
/// [`Error::NoKeyspace`], [`Error::NoTable`], [`Error::NoVindex`], and those of [`Vindex::of_type`].
pub(crate) fn of_table(vschema: &SrvVSchema, keyspace: &str, table: &str) -> Result<(Vec<String>, Vindex), Error> {
    let keyspace = self::keyspace(vschema, keyspace).ok_or_else(|| Error::NoKeyspace(keyspace.to_owned()))?;
    let entry = keyspace.tables.iter().find(|entry| entry.key == table);
    let entry = entry.ok_or_else(|| Error::NoTable(table.to_owned()))?;
    let first = entry.value.as_ref().and_then(|table| table.column_vindexes.first());
    let ColumnVindex { column, name, columns } = first.ok_or_else(|| Error::NoVindex(table.to_owned()))?;
    let vindex = keyspace.vindexes.iter().find(|entry| entry.key == *name).and_then(|entry| entry.value.as_ref());
    let vindex = vindex.ok_or_else(|| Error::NotFound(name.clone()))?;
    let columns = if columns.is_empty() { vec![column.clone()] } else { columns.clone() };
    Ok((columns, Vindex::of_type(&vindex.r#type)?))
}

fn keyspace<'a>(vschema: &'a SrvVSchema, name: &str) -> Option<&'a Keyspace> {
    vschema.keyspaces.iter().find(|entry| entry.key == name)?.value.as_ref()
}

fn integer(value: &[u8], signed: bool) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if signed { text.parse::<i64>().ok().map(i64::cast_unsigned) } else { text.parse().ok() }
}

fn des(number: u64) -> Vec<u8> {
    let mut block = number.to_be_bytes().into();
    Des::new(&[0_u8; 8].into()).encrypt_block(&mut block);
    block.to_vec()
}

fn xxhash(bytes: &[u8]) -> Vec<u8> {
    XxHash64::oneshot(0, bytes).to_le_bytes().to_vec()
}

fn bound(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok());
    bytes.collect::<Option<Vec<u8>>>().map(|bytes| strip(&bytes).to_vec())
}

fn strip(id: &[u8]) -> &[u8] {
    &id[..id.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests;
