//! Tables for the tests of checks.

use vtmigrated_proto::tabletmanagerdata::TableDefinition;

use super::tables::Definitions;

/// A table that no check has anything to say of.
pub const PLAIN: &str =
    "CREATE TABLE `t` (\n  `id` bigint NOT NULL,\n  `c` int DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB";

/// Tables by name, with what SHOW CREATE TABLE says of each.
pub fn definitions(of: &[(&str, &str)]) -> Definitions {
    let definition = |(name, schema): &(&str, &str)| {
        let schema = (*schema).to_owned();
        ((*name).to_owned(), TableDefinition { name: (*name).to_owned(), schema, ..TableDefinition::default() })
    };
    of.iter().map(definition).collect()
}

pub fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}
