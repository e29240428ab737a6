//! Calls that read are asked in two places; differences are counted, and nobody waits for them.

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use vtmigrated::server::fallback::{Fallback, Options};
use vtmigrated::server::router::Router;
use vtmigrated::telemetry::shadow::{Count, Counts};
use vtmigrated_proto::vtctldata::*;

use crate::edge::fallback::options;
use crate::support::stock::Stock;
use crate::support::{Lab, assert_refused};

/// A server that compares some RPCs with a fallback.
async fn lab(address: &str) -> (Lab, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let shadow = ["GetKeyspaces", "MountList", "MountShow"].map(str::to_owned).into();
    let fallback = Fallback::new(Options { shadow, ..options(address) }, Arc::clone(&counts)).unwrap();
    (Lab::routed(Router::new(Some(Arc::new(fallback)))).await, counts)
}

/// The counts of an RPC when there are as many as expected.
async fn counted(counts: &Counts, rpc: &str, number: u64) -> Count {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let count = counts.all().get(rpc).copied().unwrap_or_default();
        if count.same + count.different + count.failed + count.skipped >= number {
            return count;
        }
        assert!(tokio::time::Instant::now() < until, "{rpc}: {count:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn differences_are_counted_and_our_answer_is_given() {
    let stock = Stock::start(None).await;
    let (mut lab, counts) = lab(&stock.address).await;
    assert!(lab.client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap().into_inner().keyspaces.is_empty());
    assert_eq!(counted(&counts, "GetKeyspaces", 1).await, Count { different: 1, ..Count::default() });
    assert_eq!(stock.seen.last().get("grpc-accept-encoding"), None);
    lab.client.mount_list(MountListRequest {}).await.unwrap();
    lab.client.mount_list(MountListRequest {}).await.unwrap();
    assert_eq!(counted(&counts, "MountList", 2).await, Count { same: 2, ..Count::default() });
    // ours has a code and goes on where stock's text ends
    let unknown = MountShowRequest { name: "x".into() };
    assert_refused(lab.client.mount_show(unknown).await, Code::NotFound, "there is no vitess cluster named x");
    assert_eq!(counted(&counts, "MountShow", 1).await, Count { same: 1, ..Count::default() });
    // others are not watched
    lab.client.get_cell_info_names(GetCellInfoNamesRequest {}).await.unwrap();
    assert_eq!(counts.all().len(), 3);
}

#[tokio::test]
async fn a_fallback_that_is_slow_or_dead_is_not_noticed_by_callers() {
    let stock = Stock::start(None).await;
    let (lab, counts) = lab(&stock.address).await;
    // more than are asked there at a time: all are answered while none of them is
    let calls = (0..40).map(|_| {
        let mut client = lab.client.clone();
        async move { client.mount_show(MountShowRequest { name: "slow".into() }).await.unwrap_err().code() }
    });
    let codes = futures::future::join_all(calls).await;
    assert!(codes.iter().all(|code| *code == Code::NotFound), "{codes:?}");
    assert_eq!(counted(&counts, "MountShow", 24).await, Count { skipped: 24, ..Count::default() });

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (mut lab, counts) = self::lab(&nobody).await;
    lab.client.mount_list(MountListRequest {}).await.unwrap();
    assert_eq!(counted(&counts, "MountList", 1).await, Count { failed: 1, ..Count::default() });
}
