//! Cells that a call left out because they cannot be reached.

use crate::error::check;
use crate::topo::Cells;
use crate::topo::cell::Aliases;
use crate::workflow::findings::Finding;

/// One finding for each cell of `side` (`target` or `source`) that was left out so far.
pub fn left_out(cells: &Cells, side: &str) -> Vec<Finding> {
    let one = |(cell, why): (String, crate::topo::Error)| {
        let fix = match side {
            "target" => format!(
                "once it is back: RebuildVSchemaGraph --cells {cell}; if it is gone for good: DeleteCellInfo --force {cell}"
            ),
            _ => format!("if it is gone for good, in the {side}'s cluster: DeleteCellInfo --force {cell}"),
        };
        let cause = format!("cell {cell} of the {side} is out of reach, and what it holds was left out: {why}");
        Finding::new(&check::CELL_UNREACHABLE, format!("cell {cell}"), cause, fix)
    };
    cells.left_out().into_iter().map(one).collect()
}

/// One finding for each cells alias of the source that cannot be decoded.
pub fn aliases_left_out(aliases: &Aliases) -> Vec<Finding> {
    let one = |(alias, why): &(String, crate::topo::Error)| {
        let cause = format!("the cells alias {alias} of the source cannot be read, and was passed over: {why}");
        let fix = format!("in the source's cluster: DeleteCellsAlias {alias}, then AddCellsAlias {alias} --cells …");
        Finding::new(&check::ALIAS_UNREADABLE, format!("cells alias {alias}"), cause, fix)
    };
    aliases.unread.iter().map(one).collect()
}

/// What a call left out, for people who read the answer of an operation: the cells of the target, with what to do, and
/// [the rest](passed_over).
pub fn told(cells: &Cells) -> String {
    let left_out = left_out(cells, "target").into_iter().map(|found| format!("\n{}\n{}", found.cause, found.fix));
    left_out.chain([passed_over(cells)]).collect()
}

/// What a call left out besides cells: one line for each, after a line break; empty without any.
pub fn passed_over(cells: &Cells) -> String {
    cells.passed_over().into_iter().map(|sentence| format!("\n{sentence}")).collect()
}
