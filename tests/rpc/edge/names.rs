//! Names are names: nothing in a request reaches a topology path beyond the record that it names.

mod fixture;
mod reflect;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor, prost::Message as _};
use tonic::client::Grpc;
use tonic::{Request, Status};
use vtmigrated::tablet::raw::Raw;

use crate::support::Lab;
use fixture::{Fixture, MARK, Records};
use reflect::{Shape, fill, strings};

/// Names that lead out of a record's place: to the records of another keyspace, of another cluster, to a directory.
const HOSTILE: &[&str] = &[
    "../../keyspaces/victim",
    "../../keyspaces/victim/Keyspace",
    "../../../../../../../../other/global/keyspaces/victim",
    "../../../../../../../../other/global/keyspaces/victim/Keyspace",
    "../victim",
    "victim/shards/0",
    "./victim",
    "/victim",
    "victim/",
    "..",
    ".",
    "/",
    "",
];

/// Some of them, for more ways of asking.
const SOME: &[&str] = &["../../keyspaces/victim", "../../../../../../../../other/global/keyspaces/victim/Keyspace", ""];

/// Records that belong to no name: RPCs that are for them write them, whatever strings they carry.
const SHARED: &[&str] = &["RoutingRules", "Rules", "ShardRoutingRules", "MirrorRules", "SrvVSchema"];

/// All methods but the one of the legacy commands, which are lines of words.
fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).unwrap();
    let is_served = |service: &ServiceDescriptor| {
        let is_ours = ["vtctlservice", "vtmigrated"].contains(&service.package_name());
        is_ours && service.full_name() != "vtctlservice.Vtctl"
    };
    let services: Vec<ServiceDescriptor> = pool.services().filter(is_served).collect();
    assert!(services.len() >= 3, "{services:?}");
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

async fn call(lab: &Lab, method: &MethodDescriptor, message: &DynamicMessage) -> Result<Bytes, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    let mut client = Grpc::new(lab.channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(Bytes::from(message.encode_to_vec()));
    request.set_timeout(std::time::Duration::from_secs(10));
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}

/// Keys whose record came, went or became another.
fn changed(before: &Records, after: &Records) -> Vec<String> {
    let mut both: BTreeMap<&String, [Option<&Vec<u8>>; 2]> = BTreeMap::new();
    for (at, records) in [before, after].into_iter().enumerate() {
        for (key, value) in records {
            both.entry(key).or_default()[at] = Some(value);
        }
    }
    both.into_iter().filter(|(_, [old, new])| old != new).map(|(key, _)| key.clone()).collect()
}

fn is_shared(method: &str, key: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or_default();
    let verbs = ["Apply", "Create", "Delete", "Migrate", "Rebuild"];
    SHARED.contains(&last) && verbs.iter().any(|verb| method.starts_with(verb))
}

fn assert_unseen(what: &str, shown: &[u8]) {
    let seen = shown.windows(MARK.len()).any(|part| part == MARK.as_bytes());
    assert!(!seen, "{what} shows a record of another cluster");
}

/// Makes a call; fails when it changes a record that it may not, or shows one of another cluster. What it changed is undone.
async fn tries(
    fixture: &Fixture,
    before: &Records,
    (method, message): (&MethodDescriptor, &DynamicMessage),
    what: &str,
    may_change: impl Fn(&str) -> bool,
) {
    let answer = call(&fixture.lab, method, message).await;
    let changed = changed(before, &fixture.records().await);
    let foreign: Vec<_> = changed.iter().filter(|key| !may_change(key) && !is_shared(method.name(), key)).collect();
    assert!(foreign.is_empty(), "{what} changes {foreign:?}");
    assert_unseen(what, &answer.unwrap_or_else(|status| status.message().to_owned().into()));
    fixture.restore(before, &changed).await;
}

#[tokio::test]
async fn a_request_of_hostile_names_changes_and_shows_nothing() {
    let fixture = Fixture::start().await;
    let before = fixture.records().await;
    for method in methods() {
        for (name, shape) in HOSTILE.iter().flat_map(|name| [(name, Shape::Full), (name, Shape::Bare)]) {
            let mut message = DynamicMessage::new(method.input());
            fill(&mut message, shape, &mut |_| (*name).to_owned());
            let what = format!("{} with {name:?} everywhere ({shape:?})", method.full_name());
            tries(&fixture, &before, (&method, &message), &what, |_| false).await;
        }
    }
}

#[tokio::test]
async fn one_hostile_name_among_good_ones_reaches_no_other_record() {
    let fixture = Fixture::start().await;
    let before = fixture.records().await;
    for method in methods() {
        for (shape, names) in [(Shape::Full, HOSTILE), (Shape::Bare, SOME)] {
            for field in strings(&method.input(), shape) {
                for name in names {
                    let mut text = |at: &str| if at == field { (*name).to_owned() } else { Fixture::good(at) };
                    let mut message = DynamicMessage::new(method.input());
                    fill(&mut message, shape, &mut text);
                    let what = format!("{} with {field} {name:?} ({shape:?})", method.full_name());
                    tries(&fixture, &before, (&method, &message), &what, Fixture::is_mine).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn records_of_hostile_names_lead_to_no_other_record() {
    let fixture = Fixture::start().await;
    fixture.plant().await;
    let before = fixture.records().await;
    for method in methods() {
        for shape in [Shape::Full, Shape::Bare] {
            let mut message = DynamicMessage::new(method.input());
            fill(&mut message, shape, &mut Fixture::good);
            let what = format!("{} where records name others ({shape:?})", method.full_name());
            tries(&fixture, &before, (&method, &message), &what, Fixture::is_mine).await;
        }
    }
}

/// Commands that `Help` lists, with the flags that their usages tell.
async fn commands(lab: &mut Lab) -> Vec<(String, Vec<String>)> {
    let listed = lab.printed("Help").await;
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned));
    let mut commands = Vec::new();
    for name in names.filter(|name| name != "Help") {
        let usage = lab.printed(&format!("Help {name}")).await;
        let flags = usage.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
        let flags = flags.filter_map(|line| line.split([' ', '=', '\t']).next().map(str::to_owned)).collect();
        commands.push((name, flags));
    }
    commands
}

#[tokio::test]
async fn older_commands_with_hostile_names_change_and_show_nothing() {
    let mut fixture = Fixture::start().await;
    let before = fixture.records().await;
    let commands = commands(&mut fixture.lab).await;
    assert!(commands.len() >= 40 && commands.iter().any(|(_, flags)| !flags.is_empty()), "{commands:?}");
    for (command, flags) in &commands {
        for name in HOSTILE {
            let given = |flag: &String| format!("--{flag}={name}");
            let mut lines: Vec<Vec<String>> = (1..4).map(|count| vec![(*name).to_owned(); count]).collect();
            lines.extend(flags.iter().map(|flag| vec![given(flag), (*name).to_owned()]));
            // a switch, or a value that stands by itself
            let apart = |flag: &String| vec![format!("--{flag}"), (*name).to_owned(), (*name).to_owned()];
            lines.extend(flags.iter().map(apart).flat_map(|words| [words[..2].to_vec(), words]));
            for words in ["show", "Show", "cancel", "Unmount"] {
                lines.push(vec![words.to_owned(), format!("mine.{name}")]);
                lines.push(vec![format!("{name}.mine"), words.to_owned()]);
            }
            lines.push(vec![format!("mine/{name}")]);
            lines.push(vec![format!("{name}/0")]);
            for words in lines {
                let what = format!("{command} {words:?}");
                let (printed, result) = fixture.lab.run_args([vec![command.clone()], words].concat()).await;
                let changed = changed(&before, &fixture.records().await);
                let foreign: Vec<_> = changed.iter().filter(|key| !is_shared(command, key)).collect();
                assert!(foreign.is_empty(), "{what} changes {foreign:?}");
                assert_unseen(&what, printed.as_bytes());
                assert_unseen(
                    &what,
                    result.err().map(|status| status.message().to_owned()).unwrap_or_default().as_bytes(),
                );
                fixture.restore(&before, &changed).await;
            }
        }
    }
}
