//! Writes the declared messages of Vitess as a `google.protobuf.FileDescriptorSet`: `descriptors <file>`. Those of our own
//! are left out: there is nothing to compare them with.

use std::{env, error::Error, fs};

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).ok_or("usage: descriptors <file>")?;
    let mut set = FileDescriptorSet::decode(vtmigrated_proto::DESCRIPTORS)?;
    set.file.retain(|file| file.package() != "vtmigrated");
    Ok(fs::write(file, set.encode_to_vec())?)
}
