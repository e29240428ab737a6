//! Types of tablets, and which tablets are of some of them.

use vtmigrated_proto::topodata::{Tablet, TabletType};

use crate::tablet;

/// Types of tablets that serve, in the order in which they are better read from.
pub const SERVING_TYPES: [TabletType; 3] = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];

/// True for a tablet of one of these types; without types a stock tablet takes all that serve. One that was shut down keeps
/// its type, and is none.
pub fn is_one_of(tablet: &Tablet, types: &[TabletType]) -> bool {
    if tablet::is_shut_down(tablet) {
        return false;
    }
    if types.is_empty() { SERVING_TYPES.contains(&tablet.r#type()) } else { types.contains(&tablet.r#type()) }
}

/// The cell of a tablet.
pub fn cell(tablet: &Tablet) -> &str {
    tablet.alias.as_ref().map(|alias| alias.cell.as_str()).unwrap_or_default()
}

/// A type's name as flags spell it.
pub fn name(kind: TabletType) -> String {
    kind.as_str_name().to_lowercase()
}

/// The names of types, joined by commas.
pub fn names(types: &[TabletType]) -> String {
    types.iter().map(|kind| name(*kind)).collect::<Vec<_>>().join(",")
}
