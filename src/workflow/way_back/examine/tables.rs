//! Tables whose rows could not go back whole: keys that are unique on each shard only, foreign keys that lead out, triggers.

use std::collections::BTreeSet;

use vtmigrated_proto::vschema::keyspace::ForeignKeyMode;

use crate::error::check;
use crate::sql::ddl;
use crate::workflow::checks::tables::{Definitions, Shapes, auto_increment_columns, shapes as table_shapes};
use crate::workflow::checks::vschema as vschema_checks;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::ClusterState;

/// All findings about tables. In the situation the source is the target.
pub fn judge(situation: &ClusterState, arguments: &Arguments) -> Vec<Finding> {
    let tables = &arguments.include_tables;
    let shapes = table_shapes(tables, situation.first_source());
    let mut found = missing(tables, &situation.target_tables, &arguments.target_keyspace);
    if situation.source.keyspace.shards.len() > 1 {
        let sequenced = vschema_checks::sequenced(&situation.source.vschema);
        found.extend(counted(tables, &shapes, &sequenced, &arguments.source_keyspace));
        found.extend(unique(tables, &shapes, &arguments.source_keyspace));
    }
    for there in &situation.target_tables {
        found.extend(foreign(tables, there, &arguments.target_keyspace));
    }
    let there = situation.target_tables.first().map(|there| table_shapes(tables, there)).unwrap_or_default();
    // where vtgate manages foreign keys it changes the rows itself
    if situation.source.vschema.foreign_key_mode() != ForeignKeyMode::Managed {
        found.extend(cascading(tables, &shapes, &there, &arguments.source_keyspace));
    }
    found.extend(only_there(tables, &shapes, &there, &arguments.target_keyspace));
    let told = situation.asked.servers.target.iter().filter_map(|server| server.answers.as_ref().ok());
    let inventory = told.flat_map(|answers| &answers.inventory);
    found.extend(triggered(tables, inventory, &arguments.target_keyspace));
    found.dedup();
    found
}

/// Tables that the source has lost.
fn missing(tables: &[String], there: &[Definitions], keyspace: &str) -> Vec<Finding> {
    let lost = tables.iter().filter(|table| there.iter().any(|known| !known.contains_key(*table)));
    let finding = |table: &String| {
        let cause = format!("table {table} is not on every shard of the source keyspace {keyspace}");
        Finding::new(&check::WAY_BACK_TABLE, format!("table {table}"), cause, "make it there again, as it was")
    };
    lost.map(finding).collect()
}

/// AUTO_INCREMENT columns that every target shard counts for itself: rows of two shards would meet under one id.
fn counted(tables: &[String], shapes: &Shapes, sequenced: &BTreeSet<&str>, keyspace: &str) -> Vec<Finding> {
    let counted = auto_increment_columns(tables, shapes).into_iter();
    let finding = |(table, column): (String, String)| {
        let cause = format!(
            "column {column} of table {table} is AUTO_INCREMENT: each shard of {keyspace} gives its values out for itself, and on \
             the way back rows of two shards would meet under one"
        );
        let fix = format!(
            "make a sequence, and name it in the VSchema of {keyspace}: alter vschema on {table} add auto_increment {column} \
             using <keyspace>.<sequence>"
        );
        Finding::new(&check::WAY_BACK_AUTO_INCREMENT, format!("table {table}"), cause, fix)
    };
    counted.filter(|(table, _)| !sequenced.contains(table.as_str())).map(finding).collect()
}

/// Secondary keys that are unique on each target shard only. A stream stops at a row that breaks one in the source.
fn unique(tables: &[String], shapes: &Shapes, keyspace: &str) -> Vec<Finding> {
    let with_key = tables.iter().filter_map(|table| {
        let key = shapes.get(table)?.keys.iter().find(|key| key.unique)?;
        Some((table, key))
    });
    let finding = |(table, key): (&String, &ddl::Key)| {
        let cause = format!(
            "key {} of table {table} is unique on each shard of {keyspace} only: a stream of the way back stops at a row that \
             breaks it in the source",
            key.name
        );
        let fix = "see that the application does not write such rows";
        Finding::new(&check::WAY_BACK_UNIQUE, format!("table {table}"), cause, fix)
    };
    with_key.map(finding).collect()
}

/// Foreign keys of the source between a table of the way back and one that stays outside.
fn foreign(tables: &[String], there: &Definitions, keyspace: &str) -> Vec<Finding> {
    let inside: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let with_keys = there.iter().filter(|(_, definition)| definition.schema.contains("FOREIGN KEY"));
    let mut found = Vec::new();
    for (child, definition) in with_keys {
        let Ok(shape) = ddl::shape(&definition.schema) else { continue };
        for key in &shape.foreign_keys {
            let parent = key.parent.as_str();
            let outside = key.database.is_some() || inside.contains(child.as_str()) != inside.contains(parent);
            let concerns = inside.contains(child.as_str()) || inside.contains(parent) && key.database.is_none();
            if !outside || !concerns {
                continue;
            }
            let cause = format!(
                "a foreign key of table {child} in the source keyspace {keyspace} points to table {parent}, and only one of the \
                 two comes back"
            );
            let fix = "migrate both tables in one workflow, or drop the foreign key in the source";
            found.push(Finding::new(&check::WAY_BACK_FOREIGN_KEY, format!("table {child}"), cause, fix));
        }
    }
    found
}

/// Foreign keys of the target by which MySQL changes rows of its own accord, so that no binlog has it, and for which the source does
/// not do the same.
fn cascading(tables: &[String], shapes: &Shapes, there: &Shapes, keyspace: &str) -> Vec<Finding> {
    let inside: BTreeSet<&String> = tables.iter().collect();
    let mut found = Vec::new();
    for child in tables {
        let Some(shape) = shapes.get(child) else { continue };
        for key in shape.foreign_keys.iter().filter(|key| key.cascades()) {
            let both = key.database.is_none() && inside.contains(&key.parent);
            if both && there.get(child).is_some_and(|there| there.foreign_keys.contains(key)) {
                continue;
            }
            let parent = &key.parent;
            let cause = format!(
                "MySQL changes rows of table {child} in {keyspace} with those of {parent}, by a foreign key that the source does not \
                 have, and writes that into no binlog: the source would keep these rows as they were"
            );
            let fix = "drop that foreign key, or let it restrict";
            found.push(Finding::new(&check::WAY_BACK_FOREIGN_KEY, format!("table {child}"), cause, fix));
        }
    }
    found
}

/// Foreign keys of the source between tables that come back, by which MySQL changes rows there that the target keeps as they are.
fn only_there(tables: &[String], shapes: &Shapes, there: &Shapes, keyspace: &str) -> Vec<Finding> {
    let inside: BTreeSet<&String> = tables.iter().collect();
    let mut found = Vec::new();
    for child in tables {
        let Some(shape) = there.get(child) else { continue };
        for key in shape.foreign_keys.iter().filter(|key| key.cascades()) {
            // one that leads out blocks already
            let leads_out = key.database.is_some() || !inside.contains(&key.parent);
            if leads_out || shapes.get(child).is_some_and(|here| here.foreign_keys.contains(key)) {
                continue;
            }
            let parent = &key.parent;
            let cause = format!(
                "MySQL changes or deletes rows of table {child} in {keyspace} with those of {parent}, which the target does not do: \
                 rows that clients keep there would be gone"
            );
            let fix =
                "drop that foreign key in the source, or see that clients delete such rows themselves; a VDiff tells";
            let finding = Finding::new(&check::WAY_BACK_FOREIGN_KEY, format!("table {child}"), cause, fix);
            found.push(Finding { severity: Severity::Warns, ..finding });
        }
    }
    found
}

/// Tables of the source that have triggers. `inventory` is what its databases hold.
fn triggered<'i>(
    tables: &[String],
    inventory: impl Iterator<Item = &'i (String, String)>,
    keyspace: &str,
) -> Vec<Finding> {
    let with: BTreeSet<&str> =
        inventory.filter(|(kind, _)| kind == "triggered").map(|(_, table)| table.as_str()).collect();
    let finding = |table: &String| {
        let cause = format!(
            "table {table} in {keyspace} has triggers: they fire for every row that comes back, and what they write is there alone"
        );
        let fix = "drop them in the source, and make them again when the way back has ended";
        Finding::new(&check::WAY_BACK_TRIGGER, format!("table {table}"), cause, fix)
    };
    tables.iter().filter(|table| with.contains(table.as_str())).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::TableDefinition;

    use super::*;

    fn definitions(list: &[(&str, &str)]) -> Definitions {
        let definition = |(name, columns): &(&str, &str)| TableDefinition {
            name: (*name).to_owned(),
            schema: format!("CREATE TABLE `{name}` (\n  {columns}\n) ENGINE=InnoDB"),
            ..TableDefinition::default()
        };
        list.iter().map(|entry| (entry.0.to_owned(), definition(entry))).collect()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    const PLAIN: &str = "`id` bigint NOT NULL,\n  PRIMARY KEY (`id`)";
    const COUNTED: &str =
        "`id` bigint NOT NULL AUTO_INCREMENT,\n  `mail` varchar(9),\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `m` (`mail`)";
    const CHILD: &str = "`id` bigint NOT NULL,\n  `p` bigint,\n  PRIMARY KEY (`id`),\n  KEY `p` (`p`),\n  \
                         CONSTRAINT `f` FOREIGN KEY (`p`) REFERENCES `parent` (`id`)";

    #[test]
    fn ids_that_shards_count_for_themselves_are_refused_unless_a_sequence_gives_them() {
        let tables = names(&["a", "b"]);
        let there = definitions(&[("a", COUNTED), ("b", PLAIN)]);
        let shapes = table_shapes(&tables, &there);
        let found = counted(&tables, &shapes, &BTreeSet::new(), "customer");
        assert_eq!(
            found.iter().map(|f| (f.id.as_str(), f.subject.as_str())).collect::<Vec<_>>(),
            [("WAY_BACK_AUTO_INCREMENT", "table a")]
        );
        assert_eq!(counted(&tables, &shapes, &BTreeSet::from(["a"]), "customer"), []);
        assert_eq!(unique(&tables, &shapes, "customer").len(), 1);
    }

    #[test]
    fn foreign_keys_must_not_lead_out_on_either_side() {
        let there = definitions(&[("child", CHILD), ("parent", PLAIN), ("other", PLAIN)]);
        let count = |list: &[&str]| foreign(&names(list), &there, "commerce").len();
        assert_eq!(
            [count(&["child", "parent"]), count(&["child"]), count(&["parent"]), count(&["other"])],
            [0, 1, 1, 0]
        );
    }

    #[test]
    fn what_no_binlog_has_must_happen_in_the_source_too() {
        let cascade = CHILD.replace("REFERENCES `parent` (`id`)", "REFERENCES `parent` (`id`) ON DELETE CASCADE");
        let with = |child: &str| definitions(&[("child", child), ("parent", PLAIN)]);
        let count = |list: &[&str], here: &str, there: &str| {
            let tables = names(list);
            let (here, there) = (table_shapes(&tables, &with(here)), table_shapes(&tables, &with(there)));
            cascading(&tables, &here, &there, "customer").len()
        };
        let both = ["child", "parent"];
        assert_eq!(
            [count(&both, &cascade, &cascade), count(&both, CHILD, CHILD), count(&["child"], CHILD, CHILD)],
            [0; 3]
        );
        assert_eq!([count(&both, &cascade, CHILD), count(&both, &cascade, PLAIN)], [1; 2]);
        assert_eq!(count(&["child"], &cascade, &cascade), 1, "rows of the parent stay in the source");
        let set_null = cascade.replace("CASCADE", "SET NULL");
        assert_eq!(count(&both, &cascade, &set_null), 1, "the source would keep rows that the target deletes");
    }

    #[test]
    fn what_only_the_source_does_is_told() {
        let cascade = CHILD.replace("REFERENCES `parent` (`id`)", "REFERENCES `parent` (`id`) ON DELETE CASCADE");
        let set_null = cascade.replace("CASCADE", "SET NULL");
        let with = |child: &str| definitions(&[("child", child), ("parent", PLAIN)]);
        let found = |list: &[&str], here: &str, there: &str| {
            let tables = names(list);
            let (here, there) = (table_shapes(&tables, &with(here)), table_shapes(&tables, &with(there)));
            only_there(&tables, &here, &there, "commerce")
        };
        let both = ["child", "parent"];
        for here in [PLAIN, CHILD, set_null.as_str()] {
            let told = found(&both, here, &cascade);
            assert_eq!(
                told.iter().map(|f| (f.id.as_str(), f.severity)).collect::<Vec<_>>(),
                [("WAY_BACK_FOREIGN_KEY", Severity::Warns)]
            );
        }
        for (list, there) in [(&both[..], &cascade[..]), (&both[..], CHILD), (&both[..1], &set_null[..])] {
            assert_eq!(found(list, &cascade, there), []);
        }
    }

    #[test]
    fn triggers_of_the_source_are_told_by_their_table() {
        let item = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let inventory = [item("triggered", "a"), item("triggered", "a"), item("triggered", "other"), item("view", "b")];
        let found = triggered(&names(&["a", "b"]), inventory.iter(), "commerce");
        assert_eq!(
            found.iter().map(|f| (f.id.as_str(), f.subject.as_str())).collect::<Vec<_>>(),
            [("WAY_BACK_TRIGGER", "table a")]
        );
    }

    #[test]
    fn tables_must_be_on_every_shard_of_the_source() {
        let there = [definitions(&[("a", PLAIN), ("b", PLAIN)]), definitions(&[("a", PLAIN)])];
        let found = missing(&names(&["a", "b"]), &there, "commerce");
        assert_eq!(found.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["table b"]);
    }
}
