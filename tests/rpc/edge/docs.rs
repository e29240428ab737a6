//! The table of RPCs in docs/rpcs.md is the router's.

use std::{env, fs, path::Path};

use vtmigrated::server::rpcs;

const BEGIN: &str = "<!-- rpcs: begin; made by `UPDATE_DOCS=1 cargo test --test rpc docs` -->\n";
const END: &str = "<!-- rpcs: end -->";

#[test]
fn the_documents_list_the_route_of_every_rpc() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rpcs.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = format!("\n{}\n", rpcs::markdown());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "docs/rpcs.md is stale: UPDATE_DOCS=1 cargo test --test rpc docs");
    }
}
