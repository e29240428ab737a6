//! What docker/ starts must be what this server understands: each manifest's flags are given to the server's own reader.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{File, FileFormat, Value};
use vtmigrated::config::Config;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A node of a YAML file.
struct Node(Value);

impl Node {
    fn file(file: &str) -> Self {
        Self(config::Config::builder().add_source(File::from_str(&text(file), FileFormat::Yaml)).build().unwrap().cache)
    }

    /// The node at a path of keys, and numbers for lists.
    fn at(&self, keys: &[&str]) -> Self {
        keys.iter().fold(Self(self.0.clone()), |node, key| {
            let found = match key.parse::<usize>() {
                Ok(index) => node.0.into_array().unwrap().into_iter().nth(index),
                Err(_) => node.0.into_table().unwrap().remove(*key),
            };
            Self(found.unwrap_or_else(|| panic!("no {key} of {keys:?}")))
        })
    }

    fn string(&self) -> String {
        self.0.clone().into_string().unwrap()
    }

    fn strings(&self) -> Vec<String> {
        self.0.clone().into_array().unwrap().into_iter().map(|value| value.into_string().unwrap()).collect()
    }

    fn table(&self) -> HashMap<String, Value> {
        self.0.clone().into_table().unwrap()
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(self.0.clone().into_uint().unwrap())
    }
}

/// What the server makes of flags; every flag that is given must mean something.
fn load(flags: impl IntoIterator<Item = String>, variables: &HashMap<String, String>) -> Config {
    let args = std::iter::once("vtctld".to_owned()).chain(flags).map(OsString::from);
    let config = match Config::load(args, |name| variables.get(name).cloned()) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    };
    let idle = config.pages.settings.iter().filter(|flag| flag.origin != "default" && !flag.has_effect);
    assert_eq!(idle.map(|flag| flag.name.as_str()).collect::<Vec<_>>(), [] as [&str; 0], "flags without effect");
    assert!(!config.trying_out, "no topology");
    config
}

/// The variables that the image sets.
fn of_image() -> HashMap<String, String> {
    let dockerfile = text("Dockerfile");
    let last = dockerfile.rsplit_once("FROM ").unwrap().1;
    let lines = last.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Flags with the configuration file, wherever it is in the manifest, at hand.
fn with_file(flags: Vec<String>, content: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vtmigrated.yaml");
    std::fs::write(&file, content).unwrap();
    let flags = flags.into_iter().map(|flag| match flag.strip_prefix("--config-file=") {
        Some(given) => {
            assert_eq!(given, "/etc/vtmigrated/vtmigrated.yaml");
            format!("--config-file={}", file.display())
        }
        None => flag,
    });
    load(flags, &of_image())
}

fn assert_stops_within(config: &Config, limit: Duration) {
    let process = &config.process;
    let needed = process.onterm_timeout.max(process.lameduck_period) + 2 * process.onclose_timeout;
    assert!(needed < limit, "a stop may take {needed:?}, it is killed after {limit:?}");
}

fn ports(config: &Config) -> (Option<u16>, u16) {
    (config.http_address.as_ref().map(|address| address.port), config.grpc_address.port)
}

#[test]
fn everything_is_built_with_the_pinned_compiler() {
    let pinned = text("rust-toolchain.toml");
    let version = pinned.split_once("channel = \"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    let (oldest, _) = version.rsplit_once('.').unwrap();
    let places = [
        ("Dockerfile", format!("docker.io/library/rust:{version}-bookworm")),
        ("Dockerfile", format!("RUSTUP_TOOLCHAIN={version} ")),
        ("docker/test.Dockerfile", format!("FROM rust:{version}-bookworm\nENV RUSTUP_TOOLCHAIN={version}\n")),
        ("Cargo.toml", format!("\nrust-version = \"{oldest}\"\n")),
        ("CONTRIBUTING.md", format!("Rust {version} ")),
    ];
    for (file, wanted) in places {
        assert!(text(file).contains(&wanted), "{file} does not say {wanted:?}");
    }
}

#[test]
fn the_image_listens_where_it_says() {
    let topology = ["--topo_implementation=etcd2", "--topo_global_server_address=e:2379", "--topo_global_root=/v"];
    let config = load(topology.map(str::to_owned), &of_image());
    assert_eq!(ports(&config), (Some(15000), 15999));
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("\nEXPOSE 15000 15999\n"));
    assert!(dockerfile.contains(&format!("image.version=\"{}\"", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn compose_starts_the_server_on_the_targets_topology() {
    let compose = Node::file("docker/compose.yml");
    let server = compose.at(&["services", "vtctld"]);
    let mut variables = of_image();
    let own = server.at(&["environment"]).table();
    variables.extend(own.into_iter().map(|(name, value)| (name, value.into_string().unwrap())));
    let config = load(server.at(&["command"]).strings(), &variables);
    assert_eq!(ports(&config), (Some(15000), 15999));
    assert_eq!(config.topo.server, compose.at(&["x-target", "ETCD"]).string());
    assert_eq!(config.cell, compose.at(&["x-target", "CELL"]).string());
}

#[test]
fn kubernetes_starts_the_server_with_the_flags_of_its_map() {
    let map = Node::file("docker/kubernetes/configmap.yaml").at(&["data", "vtmigrated.yaml"]).string();
    let pod = Node::file("docker/kubernetes/deployment.yaml").at(&["spec", "template", "spec"]);
    let container = pod.at(&["containers", "0"]);
    let config = with_file(container.at(&["args"]).strings(), &map);
    let port = |index| container.at(&["ports", index, "containerPort"]).0.into_uint().unwrap();
    assert_eq!(ports(&config), (u16::try_from(port("0")).ok(), u16::try_from(port("1")).unwrap()));
    assert_eq!(config.cell, "zone1");
    assert_stops_within(&config, pod.at(&["terminationGracePeriodSeconds"]).seconds());
}

#[test]
fn systemd_starts_the_server_with_the_flags_of_its_file() {
    let unit = text("docker/systemd/vtmigrated.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let mut command = setting("ExecStart").split_whitespace().map(str::to_owned);
    assert_eq!(command.next().as_deref(), Some("/usr/bin/vtmigrated"));
    let config = with_file(command.collect(), &text("docker/systemd/vtmigrated.yaml"));
    assert_eq!(ports(&config), (Some(15000), 15999));
    assert_stops_within(&config, humantime::parse_duration(setting("TimeoutStopSec")).unwrap());
}
