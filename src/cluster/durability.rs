//! Durability policies: who may become a primary, and whose acknowledgement its writes wait for.

use vtmigrated_proto::topodata::{Keyspace, Tablet, TabletType};

use super::{Error, Result};
use crate::error::Reason;

/// A policy of Vitess 22.0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Writes wait for one replica.
    semi_sync: bool,
    /// That replica must be in another cell.
    cross_cell: bool,
    /// Tablets of type RDONLY count.
    rdonly: bool,
    /// Prefers one tablet; for Vitess's own tests.
    test: bool,
}

/// How much a tablet is wanted as primary, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promotion {
    MustNot,
    Neutral,
    Prefer,
}

impl Durability {
    /// The names that keyspaces may have.
    pub const NAMES: &[&str] =
        &["none", "semi_sync", "cross_cell", "semi_sync_with_rdonly_ack", "cross_cell_with_rdonly_ack", "test"];

    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let none = Self { semi_sync: false, cross_cell: false, rdonly: false, test: false };
        let semi_sync = Self { semi_sync: true, ..none };
        let cross_cell = Self { cross_cell: true, ..semi_sync };
        match name {
            "none" => Some(none),
            "semi_sync" => Some(semi_sync),
            "cross_cell" => Some(cross_cell),
            "semi_sync_with_rdonly_ack" => Some(Self { rdonly: true, ..semi_sync }),
            "cross_cell_with_rdonly_ack" => Some(Self { rdonly: true, ..cross_cell }),
            "test" => Some(Self { test: true, ..none }),
            _ => None,
        }
    }

    /// A keyspace's policy; `none` when its record names none.
    ///
    /// # Errors
    /// A name that is no policy's.
    pub fn of(keyspace: &Keyspace) -> Result<Self> {
        let name = if keyspace.durability_policy.is_empty() { "none" } else { &keyspace.durability_policy };
        Self::parse(name).ok_or_else(|| {
            let help = "set another one: SetKeyspaceDurabilityPolicy --durability-policy <policy> <keyspace>";
            Error::precondition(Reason::DURABILITY_POLICY, format!("durability policy {name} not found"), help)
        })
    }

    /// True when a primary of this policy waits for acknowledgements.
    pub fn primary_semi_sync(self) -> bool {
        self.semi_sync
    }

    /// True when a replica acknowledges what it gets from that primary.
    pub fn replica_semi_sync(self, primary: &Tablet, replica: &Tablet) -> bool {
        let (Some(source), Some(alias)) = (&primary.alias, &replica.alias) else { return false };
        let counts = match replica.r#type() {
            TabletType::Primary | TabletType::Replica => true,
            TabletType::Rdonly => self.rdonly,
            _ => false,
        };
        self.semi_sync && counts && (!self.cross_cell || source.cell != alias.cell)
    }

    /// How much a tablet is wanted as primary.
    pub fn promotion(self, tablet: &Tablet) -> Promotion {
        if self.test && crate::tablet::alias(tablet) == "zone2-0000000200" {
            return Promotion::Prefer;
        }
        match tablet.r#type() {
            TabletType::Primary | TabletType::Replica => Promotion::Neutral,
            _ => Promotion::MustNot,
        }
    }

    /// True when enough of the tablets would acknowledge the writes of that primary.
    pub fn can_write(self, primary: &Tablet, tablets: &[Tablet]) -> bool {
        let others = || tablets.iter().filter(|tablet| tablet.alias != primary.alias);
        !self.semi_sync || others().any(|tablet| self.replica_semi_sync(primary, tablet))
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::TabletAlias;

    use super::*;

    fn tablet(cell: &str, uid: u32, tablet_type: TabletType) -> Tablet {
        let alias = Some(TabletAlias { cell: cell.into(), uid });
        Tablet { alias, r#type: tablet_type.into(), ..Tablet::default() }
    }

    #[test]
    fn a_primary_needs_those_who_acknowledge() {
        let primary = tablet("a", 1, TabletType::Replica);
        let near = tablet("a", 2, TabletType::Replica);
        let far = tablet("b", 3, TabletType::Replica);
        let reader = tablet("b", 4, TabletType::Rdonly);
        for (name, others, can) in [
            ("none", vec![], true),
            ("semi_sync", vec![&near], true),
            ("semi_sync", vec![&reader], false),
            ("semi_sync_with_rdonly_ack", vec![&reader], true),
            ("cross_cell", vec![&near], false),
            ("cross_cell", vec![&near, &far], true),
            ("cross_cell_with_rdonly_ack", vec![&reader], true),
            ("test", vec![], true),
        ] {
            let all: Vec<Tablet> = others.into_iter().chain([&primary]).cloned().collect();
            assert_eq!(Durability::parse(name).unwrap().can_write(&primary, &all), can, "{name} {}", all.len());
        }
    }

    #[test]
    fn every_name_is_a_policy_and_others_are_none() {
        assert!(Durability::NAMES.iter().all(|name| Durability::parse(name).is_some()));
        assert_eq!(Durability::parse("Semi_Sync"), None);
        let odd = Keyspace { durability_policy: "x".into(), ..Keyspace::default() };
        assert_eq!(Durability::of(&odd).unwrap_err().to_string(), "durability policy x not found");
        assert_eq!(Durability::of(&Keyspace::default()).unwrap(), Durability::parse("none").unwrap());
        let test = Durability::parse("test").unwrap();
        assert_eq!(test.promotion(&tablet("zone2", 200, TabletType::Rdonly)), Promotion::Prefer);
        assert_eq!(test.promotion(&tablet("zone2", 201, TabletType::Rdonly)), Promotion::MustNot);
    }
}
