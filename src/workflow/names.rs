//! Names of workflows and keyspaces in requests.

use super::{Error, Result};
use crate::topo::paths;

/// Longest name of a new workflow.
const MAX_WORKFLOW: usize = 64;

/// Checks the name of a workflow that is to be made: it goes into topology paths, SQL and metric labels.
pub fn check_new_workflow(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !name.is_empty() && name.len() <= MAX_WORKFLOW && plain {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_WORKFLOW).filter(|c| !c.is_control()).collect();
    let text = format!("bad workflow name {shown:?}");
    Err(Error::invalid("BAD_NAME", text, "use 1 to 64 letters, digits, '-' and '_'"))
}

/// Checks the name of a workflow that may be there already, made by stock: anything that is safe in a topology path.
pub fn check_workflow(name: &str) -> Result<()> {
    let unsafe_path = name.is_empty() || name.len() > 1000 || name.contains('/') || matches!(name, "." | "..");
    if !unsafe_path && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_WORKFLOW).filter(|c| !c.is_control()).collect();
    Err(Error::invalid("BAD_NAME", format!("bad workflow name {shown:?}"), "name the workflow with --workflow"))
}

/// Checks the name of a keyspace.
pub fn check_keyspace(which: &str, name: &str) -> Result<()> {
    paths::check_name(name).map_err(|e| Error::Topo(e).doing(format!("bad {which} keyspace")))
}
