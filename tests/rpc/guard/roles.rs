//! Every method and every role: who may call what.

use bytes::Bytes;
use prost_reflect::DescriptorPool;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use vtmigrated::server::rpcs::role;
use vtmigrated::tablet::raw::Raw;

use super::Server;
use super::callers::guarded;

/// Each method with the least role that may call it.
const TABLE: &str = include_str!("roles.txt");
const ROLES: [&str; 4] = ["none", "read", "operate", "admin"];
/// The same of services that are not Vitess's, nor this program's.
const OTHERS: [(&str, &str); 3] = [
    ("grpc.health.v1.Health/Check", "none"),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "read"),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "read"),
];

fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().map(|line| line.split_once(' ').unwrap())
}

#[test]
fn the_table_names_every_method_and_no_other() {
    let pool = DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).unwrap();
    let services = pool.services().filter(|service| ["vtctlservice", "vtmigrated"].contains(&service.package_name()));
    let methods = services.flat_map(|service| {
        let name = service.full_name().to_owned();
        service.methods().map(move |method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
    });
    let mut methods: Vec<String> = methods.collect();
    methods.sort();
    let named: Vec<&str> = table().map(|(method, _)| method).collect();
    assert_eq!(named, methods, "say in roles.txt who may call a new method");
    for (method, needs) in table().chain(OTHERS) {
        assert_eq!(role(method).word(), needs, "{method}");
    }
    for unknown in [
        "vtctlservice.Vtctld/RpcOfTheFuture",
        "vtmigrated.Advisor/RpcOfTheFuture",
        "vtmigrated.WayBack/RpcOfTheFuture",
        "x.Y/Z",
        "vtctlservice.Vtctl/X",
        "grpc.reflected.v1.X/Y",
    ] {
        assert_eq!(role(unknown).word(), "admin", "{unknown}");
    }
}

async fn call(channel: Channel, method: &str, user: &str) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(Bytes::new());
    request.metadata_mut().insert("username", user.parse().unwrap());
    request.metadata_mut().insert("password", "secret".parse().unwrap());
    request.set_timeout(std::time::Duration::from_secs(10));
    client.unary(request, format!("/{method}").parse().unwrap(), Raw).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn every_method_is_for_its_role_and_those_above() {
    let dir = tempfile::tempdir().unwrap();
    let users: Vec<String> =
        ROLES.iter().map(|role| format!(r#"{{"Username":"{role}","Password":"secret"}}"#)).collect();
    let roles: Vec<String> = ROLES.iter().map(|role| format!(r#""{role}":"{role}""#)).collect();
    let flags = guarded(&dir, &format!("[{}]", users.join(",")), &format!(r#"{{"callers":{{{}}}}}"#, roles.join(",")));
    let server = Server::start(&flags).await;
    let channel = server.endpoint(None).connect().await.unwrap();
    for (method, needs) in table().chain(OTHERS) {
        for (at, user) in ROLES.iter().enumerate() {
            let may = ROLES.iter().position(|role| *role == needs).unwrap() <= at;
            let status = call(channel.clone(), method, user).await.err();
            let refused = status.filter(|status| {
                status.code() == Code::PermissionDenied && status.message().contains(&format!("has the role {user}"))
            });
            assert_eq!(refused.is_none(), may, "{method} by {user}");
            if let Some(refused) = refused {
                assert!(refused.message().contains(&format!("{method} needs {needs}")), "{}", refused.message());
            }
        }
    }
}
