//! Which tablets belong to mounted clusters: a tablet's record does not tell.

use std::sync::LazyLock;

use dashmap::DashSet;

/// More tablets of sources than one server migrates from.
const MOST: usize = 20_000;

static MOUNTED: LazyLock<DashSet<String>> = LazyLock::new(DashSet::new);

/// The tablet with this gRPC address was read from a mounted cluster.
pub fn mounted_tablet(address: String) {
    if MOUNTED.contains(&address) {
        return;
    }
    if MOUNTED.len() >= MOST {
        // those in use are read, and come back
        MOUNTED.clear();
    }
    MOUNTED.insert(address);
}

/// The label of calls to an address: `mount` or `local`.
pub(super) fn of(address: &str) -> &'static str {
    if MOUNTED.contains(address) { "mount" } else { "local" }
}
