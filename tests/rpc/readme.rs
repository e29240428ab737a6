//! The README's table of RPCs is the router's.

use std::{env, fs, path::Path};

use vtmigrated::server::routes;

const BEGIN: &str = "<!-- rpcs: begin; made by `UPDATE_README=1 cargo test --test rpc readme` -->\n";
const END: &str = "<!-- rpcs: end -->";

#[test]
fn readme_lists_the_way_of_every_rpc() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = format!("\n{}\n", routes::table());
    if env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "README.md is stale: UPDATE_README=1 cargo test --test rpc readme");
    }
}
