//! Compiles the `.proto` files beside this script.
//!
//! Two things that prost would do to the wire are prevented by patching the descriptors first (proto/README.md):
//! map entries whose value is a message must carry that value even when it is empty, and stream positions and messages
//! may hold bytes that are not UTF-8. The sources of streams that are only passed on become bytes, too.
//! `descriptors.bin` is written before the patch: it is the contract.
//!
//! Services that are served here get a list of their RPCs besides (`vtctld_rpcs` and so on), so that a table of them can
//! forget none.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_build::{Config, Method, Service, ServiceGenerator};
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
    let tonic = tonic_prost_build::configure().generate_default_stubs(true).service_generator();
    let mut config = Config::new();
    config.bytes([".vtctldata.Workflow.Stream.binlog_source"]).service_generator(Box::new(Services(tonic)));
    config.compile_fds(set)?;
    Ok(())
}

/// Packages whose services are served.
const SERVED: &[&str] = &["vtctlservice", "vtmigrated"];

/// What tonic makes of a service, and the list of its RPCs.
struct Services(Box<dyn ServiceGenerator>);

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, code: &mut String) {
        let list = SERVED.contains(&service.package.as_str()).then(|| rpcs(&service));
        self.0.generate(service, code);
        code.push_str(&list.unwrap_or_default());
    }
}

fn rpcs(service: &Service) -> String {
    let mut methods: Vec<&Method> = service.methods.iter().collect();
    methods.sort_by(|a, b| a.proto_name.cmp(&b.proto_name));
    let each = |line: fn(&Method) -> String| methods.iter().map(|method| line(method)).collect::<String>();
    let variants = each(|method| format!("{},", method.proto_name));
    let all = each(|method| format!("Self::{},", method.proto_name));
    let names = each(|Method { proto_name, .. }| format!("Self::{proto_name} => \"{proto_name}\","));
    let requests = each(|method| format!("pub type {} = super::super::{};", method.proto_name, method.input_type));
    let responses = each(|method| {
        let message = format!("super::super::{}", method.output_type);
        match method.server_streaming {
            true => format!("pub type {} = tonic::codegen::BoxStream<{message}>;", method.proto_name),
            false => format!("pub type {} = {message};", method.proto_name),
        }
    });
    let (service_name, module) = (format!("{}.{}", service.package, service.proto_name), snake(&service.name));
    format!(
        "/// The RPCs of `{service_name}`.
pub mod {module}_rpcs {{
    /// One of them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Rpc {{ {variants} }}
    impl Rpc {{
        pub const SERVICE: &'static str = \"{service_name}\";
        /// Ascending by name.
        pub const ALL: &'static [Self] = &[{all}];
        pub fn name(self) -> &'static str {{ match self {{ {names} }} }}
        pub fn named(name: &str) -> Option<Self> {{
            let at = Self::ALL.binary_search_by(|rpc| rpc.name().cmp(name)).ok()?;
            Some(Self::ALL[at])
        }}
    }}
    /// What each takes.
    pub mod requests {{ {requests} }}
    /// What each answers.
    pub mod responses {{ {responses} }}
}}
"
    )
}

/// `way_back` for `WayBack`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
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
