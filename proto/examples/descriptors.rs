//! Writes the declared messages as a `google.protobuf.FileDescriptorSet`: `descriptors <file>`.

use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).ok_or("usage: descriptors <file>")?;
    Ok(fs::write(file, vtmigrated_proto::DESCRIPTORS)?)
}
