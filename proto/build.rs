//! Compiles the `.proto` files beside this script.
//!
//! Two things that prost would do to the wire are prevented by patching the descriptors first (proto/README.md):
//! map entries whose value is a message must carry that value even when it is empty, and stream positions and messages
//! may hold bytes that are not UTF-8. The sources of streams that are only passed on become bytes, too.
//! `descriptors.bin` is written before the patch: it is the contract.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=.");
    let mut files: Vec<PathBuf> = fs::read_dir(".")?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "proto"));
    files.sort();
    let mut set = protox::compile(&files, ["."])?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), set.encode_to_vec())?;
    patch(&mut set);
    let configured = tonic_prost_build::configure().generate_default_stubs(true);
    configured.bytes(".vtctldata.Workflow.Stream.binlog_source").compile_fds(set)?;
    Ok(())
}

fn patch(set: &mut FileDescriptorSet) {
    for file in &mut set.file {
        file.message_type.iter_mut().for_each(patch_message);
    }
}

fn patch_message(message: &mut DescriptorProto) {
    let name = message.name().to_owned();
    for nested in &mut message.nested_type {
        let is_map = nested.options.as_ref().is_some_and(|o| o.map_entry());
        if is_map && nested.field.iter().any(|f| f.number() == 2 && f.r#type() == Type::Message) {
            nested.options = None;
        }
        let is_stream = name == "ReadVReplicationWorkflowResponse" && nested.name() == "Stream";
        for field in nested.field.iter_mut().filter(|f| is_stream && matches!(f.name(), "pos" | "message")) {
            field.set_type(Type::Bytes);
        }
        let is_shown = name == "Workflow" && nested.name() == "Stream";
        for field in nested.field.iter_mut().filter(|f| is_shown && f.name() == "binlog_source") {
            field.set_type(Type::Bytes);
            field.type_name = None;
            // as a message has it: an empty one is not the same as none
            field.proto3_optional = Some(true);
        }
        patch_message(nested);
    }
}
