//! The table of served RPCs and the service agree.

use bytes::Bytes;
use prost_reflect::DescriptorPool;
use tonic::client::Grpc;
use tonic::{Code, Request};
use vtmigrated::server::rpcs::{is_native, natives};
use vtmigrated::tablet::raw::Raw;

use crate::support::Lab;

#[tokio::test]
async fn every_rpc_of_the_table_is_served_and_no_other() {
    let lab = Lab::start().await;
    let pool = DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("vtctlservice.Vtctld").unwrap();
    let names: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
    assert!(natives().all(|rpc| names.iter().any(|name| name == rpc)));
    for name in &names {
        let path = format!("/vtctlservice.Vtctld/{name}").parse().unwrap();
        let mut client = Grpc::new(lab.channel.clone());
        client.ready().await.unwrap();
        // streams are none of ours: their first message or their status is enough
        let answer = client.unary(Request::new(Bytes::new()), path, Raw).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code != Code::Unimplemented, is_native(name), "{name}: {code}");
        let bad = [Code::Unknown, Code::Internal, Code::DataLoss];
        assert!(!bad.contains(&code), "{name}: {code}");
    }
}
