//! Cells and their aliases.

use bytes::Bytes;
use vtmigrated_proto::topodata::{CellInfo, CellsAlias};

use super::{Error, Result};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Expect, cell, srv_keyspace};

/// Longest cell or alias name, in bytes.
const MAX_NAME: usize = 64;
/// Longest address or root, in bytes.
const MAX_VALUE: usize = 4096;

/// Checks the name of a cell or of an alias: letters, digits, `-`, `_` and `.`, as they stand in tablet aliases.
///
/// # Errors
/// Bad names, with the texts of other object names.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::bad_argument("cell field is required: empty name"));
    }
    if name.len() > MAX_NAME {
        let head: String = name.chars().take(MAX_NAME).collect();
        return Err(Error::bad_argument(format!("name {head} is too long")));
    }
    if name == "global" {
        return Err(Error::bad_argument("global is the name of the global topology, not of a cell"));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(c) => Err(Error::bad_argument(format!("invalid character {c} in name {name}"))),
        None if name.starts_with('.') => Err(Error::bad_argument(format!("invalid character . in name {name}"))),
        None => Ok(()),
    }
}

/// Checks several names.
///
/// # Errors
/// That of the first bad one.
pub fn check_names(names: &[String]) -> Result<()> {
    names.iter().try_for_each(|name| check_name(name))
}

/// Registers a cell. What is not known of its record is stored as it was sent. One round trip.
pub async fn add(context: &Context, name: &str, info: Option<CellInfo>, sent: Option<Bytes>) -> Result<()> {
    check_name(name)?;
    let info = info.unwrap_or_default();
    if info.root.is_empty() {
        return Err(Error::precondition(Reason::BAD_CELL, "CellInfo.Root must be non-empty", ""));
    }
    check_info(&info)?;
    Ok(cell::create(context.topo.global(), name, &info, sent.as_ref()).await?)
}

/// Changes those of a cell's values that are given, and makes the cell when there is none; what is not known of them is stored
/// as it was sent. Two round trips.
pub async fn update(context: &Context, name: &str, info: Option<CellInfo>, sent: Option<Bytes>) -> Result<CellInfo> {
    check_name(name)?;
    let wanted = info.unwrap_or_default();
    check_info(&wanted)?;
    let change = |info: &mut CellInfo| {
        let old = info.clone();
        if !wanted.server_address.is_empty() {
            info.server_address.clone_from(&wanted.server_address);
        }
        if !wanted.root.is_empty() {
            info.root.clone_from(&wanted.root);
        }
        *info != old
    };
    Ok(cell::update(context.topo.global(), name, sent.as_ref(), change).await?)
}

/// Removes a cell that serves no keyspace; with `force` any cell. Four round trips.
pub async fn delete(context: &Context, name: &str, force: bool) -> Result<()> {
    check_name(name)?;
    let serving = match context.topo.cell(name).await {
        Ok(conn) => srv_keyspace::names(&conn).await,
        Err(error) if error.is_no_node() => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    match serving {
        Ok(names) if !names.is_empty() && !force => {
            let text = format!(
                "cell {name} has serving keyspaces. Before deleting, delete keyspace with DeleteKeyspace, or use -force to \
                 continue anyway."
            );
            Err(Error::precondition(Reason::CELL_IN_USE, text, format!("serving there: {}", names.join(", "))))
        }
        Err(error) if !force => {
            let doing = "can't list SrvKeyspace entries in the cell; use -force flag to continue anyway (e.g. if cell-local \
                         topo was already permanently shut down)";
            Err(error.wrap(doing).into())
        }
        _ => Ok(cell::delete(context.topo.global(), name).await?),
    }
}

/// One cell's record.
pub async fn get(context: &Context, name: &str) -> Result<CellInfo> {
    check_name(name)?;
    Ok(cell::get(context.topo.global(), name).await?.value)
}

/// Makes an alias of some cells. Two round trips.
pub async fn add_alias(context: &Context, name: &str, cells: Vec<String>) -> Result<()> {
    let alias = checked_alias(context, name, cells).await?;
    Ok(cell::put_alias(context.topo.global(), name, &alias, Expect::Absent, None).await?)
}

/// Changes the cells of an alias, and makes it when there is none. Three round trips; when somebody else was faster, all is
/// checked again. What is not known of the alias is stored as it was sent.
pub async fn update_alias(
    context: &Context,
    name: &str,
    cells: Vec<String>,
    sent: Option<Bytes>,
) -> Result<CellsAlias> {
    loop {
        let alias = checked_alias(context, name, cells.clone()).await?;
        match cell::change_alias(context.topo.global(), name, &alias, sent.as_ref()).await {
            Err(error) if error.is_conflict() => {}
            changed => return Ok(changed.map(|()| alias)?),
        }
    }
}

/// Removes an alias.
pub async fn delete_alias(context: &Context, name: &str) -> Result<()> {
    check_name(name)?;
    Ok(cell::delete_alias(context.topo.global(), name).await?)
}

/// A cell may be in one alias only.
async fn checked_alias(context: &Context, name: &str, cells: Vec<String>) -> Result<CellsAlias> {
    check_name(name)?;
    let bad = |why: String| Error::bad_argument(format!("cells alias {name} is not valid: {why}"));
    if cells.is_empty() {
        return Err(bad("it has no cells".into()));
    }
    check_names(&cells).map_err(|error| bad(error.to_string()))?;
    for (other, alias) in cell::aliases(context.topo.global()).await? {
        if other != name && alias.cells.iter().any(|cell| cells.contains(cell)) {
            return Err(bad(format!("cell set overlaps with existing alias {other}")));
        }
    }
    Ok(CellsAlias { cells })
}

fn check_info(info: &CellInfo) -> Result<()> {
    for value in [&info.server_address, &info.root] {
        if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
            let text = "bad cell: server address and root are single lines of at most 4096 bytes";
            return Err(Error::bad_argument(text));
        }
    }
    Ok(())
}

/// The cells of a request: all when none are named.
///
/// # Errors
/// Bad names, and [`topo::Error::NoNode`] for a cell without a record.
pub async fn select(context: &Context, names: &[String]) -> Result<topo::Cells> {
    check_names(names)?;
    let cells = context.topo.cells().await?;
    Ok(if names.is_empty() { cells } else { cells.only(names)? })
}
