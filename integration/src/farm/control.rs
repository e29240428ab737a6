//! The farm's own page: what it is, and what its tablets are to suffer.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::{Farm, shape::Side, tablet::Faults};

/// What a load program has to know of a farm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Facts {
    /// Flags of a vtctld of the target.
    pub flags: Vec<String>,
    /// `host:port` of the target's topology.
    pub topology: String,
    /// The first mount.
    pub mount: String,
    /// All of them.
    pub mounts: Vec<String>,
    /// Keyspaces of the target, each with the source keyspace of its workflows.
    pub keyspaces: BTreeMap<String, String>,
    /// Workflows that each keyspace of the target had at start.
    pub workflows: Vec<String>,
    /// Cells in which streams look for tablets.
    pub cells: Vec<String>,
    /// Process ids by what they are.
    pub processes: BTreeMap<String, u32>,
}

/// Tablets, and the faults that they are to have from now on.
#[derive(Debug, Deserialize)]
struct Told {
    /// An alias, a keyspace, `keyspace/shard`, a cell, or `*`.
    tablets: String,
    #[serde(flatten)]
    faults: serde_json::Map<String, serde_json::Value>,
}

/// Serves the page until the farm is dropped.
///
/// # Errors
/// The port is not free.
pub async fn serve(farm: Arc<Farm>, address: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/", get(|State(farm): State<Arc<Farm>>| async move { text(&farm.facts()) }))
        .route("/calls", get(|State(farm): State<Arc<Farm>>| async move { text(&farm.taken()) }))
        .route("/tablets", post(tablets))
        .route("/topology", post(topology))
        .with_state(farm);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::warn!("the farm's page ended: {error}");
        }
    });
    Ok(address)
}

fn text<T: Serialize>(what: &T) -> String {
    serde_json::to_string_pretty(what).unwrap_or_default() + "\n"
}

type Reply = (StatusCode, String);

async fn tablets(State(farm): State<Arc<Farm>>, body: String) -> Reply {
    let told = serde_json::from_str::<Told>(&body)
        .and_then(|told| Ok((told.tablets, serde_json::from_value::<Faults>(told.faults.into())?)));
    match told {
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
        Ok((which, faults)) => match farm.upset(&which, &faults) {
            0 => (StatusCode::NOT_FOUND, format!("no tablet is {which}\n")),
            count => (StatusCode::OK, format!("{count} tablets\n")),
        },
    }
}

/// `{"zone1": 20}`: milliseconds by cell.
async fn topology(State(farm): State<Arc<Farm>>, body: String) -> Reply {
    let told: BTreeMap<String, u64> = match serde_json::from_str(&body) {
        Ok(told) => told,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    for side in [Side::Source, Side::Target] {
        if let Some(delay) = told.get(side.cell())
            && !farm.cluster(side).delay_topology(Duration::from_millis(*delay))
        {
            return (StatusCode::CONFLICT, "start the farm with --topology-delay\n".to_owned());
        }
    }
    (StatusCode::OK, String::new())
}
