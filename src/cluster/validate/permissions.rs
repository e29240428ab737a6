//! Do all tablets have the users and grants of the first primary?

use std::collections::HashMap;

use futures::future::{join_all, try_join};
use vtmigrated_proto::tabletmanagerdata::Permissions;

use super::fleet::{Fleet, records};
use crate::cluster::{Error, Result, shown, tablet};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::topo::paths;

/// Compares the tablets of the named shards, or of all, with the primary of the first.
///
/// # Errors
/// Every difference, and what could not be read: `permissions diffs: …`.
pub async fn permissions(context: &Context, keyspace: &str, names: &[String]) -> Result<()> {
    let read = try_join(records(context, keyspace, names), async { Ok(context.topo.cells().await?) });
    let (list, cells) = read.await?;
    let shards = list.into_iter().map(|(name, record)| Ok((name, record?))).collect::<Result<Vec<_>>>()?;
    let fleet = Fleet::read(&cells, keyspace, shards).await;
    let Some(first) = fleet.shards.first() else {
        let text = format!("no shards found in keyspace {keyspace}");
        return Err(Error::precondition(Reason::NO_SHARDS, text, ""));
    };
    let Some(primary) = first.primary() else {
        let text = format!("no primary tablet in shard {}", first.full_name());
        return Err(Error::precondition(Reason::NO_PRIMARY, text, "elect one with PlannedReparentShard"));
    };
    let fleet = &fleet;
    let calls = fleet.shards.iter().flat_map(|view| &view.aliases).map(|alias| {
        let record = fleet.tablet(&cells, alias);
        async move {
            let doing = || format!("Failed to get tablet {}", shown(alias));
            let found = match record {
                Ok(found) => tablet::read_permissions(context, found).await,
                Err(error) => Err(error.wrap(doing()).into()),
            };
            (alias, found)
        }
    });
    let mut reference = None;
    let mut others = Vec::new();
    for (alias, found) in join_all(calls).await {
        if alias == primary {
            reference = Some(found?);
        } else {
            others.push((alias, found));
        }
    }
    let reference = reference.unwrap_or_default();
    let name = paths::alias_text(primary);
    let partial = fleet.shards.iter().filter_map(|view| view.partial.clone()).map(Error::from);
    let mut errors: Vec<Error> = partial.collect();
    for (alias, found) in others {
        match found {
            Ok(found) => {
                let found = diff((&name, &reference), (&paths::alias_text(alias), &found));
                errors.extend(
                    found
                        .into_iter()
                        .map(|text| Error::refused(Code::FailedPrecondition, Reason::PERMISSIONS_DIFFER, text, "")),
                );
            }
            Err(error) => errors.push(error),
        }
    }
    Error::several(errors).map_or(Ok(()), |error| Err(error.doing("permissions diffs")))
}

/// Name and printed grants of a user, ascending by name.
type Entries<'a> = Vec<(String, u64, &'a HashMap<String, String>)>;

fn diff((left_name, left): (&str, &Permissions), (right_name, right): (&str, &Permissions)) -> Vec<String> {
    let mut found = Vec::new();
    let sides = [left, right].map(|side| {
        let users = side.user_permissions.iter();
        users.map(|user| (format!("{}:{}", user.host, user.user), user.password_checksum, &user.privileges)).collect()
    });
    compare("user", (left_name, right_name), sides, &mut found);
    let sides = [left, right].map(|side| {
        let dbs = side.db_permissions.iter();
        dbs.map(|db| (format!("{}:{}:{}", db.host, db.db, db.user), 0, &db.privileges)).collect()
    });
    compare("db", (left_name, right_name), sides, &mut found);
    found
}

fn compare(what: &str, (left_name, right_name): (&str, &str), sides: [Entries<'_>; 2], found: &mut Vec<String>) {
    let [left, right] = sides.map(|mut side| {
        side.sort_by(|a, b| a.0.cmp(&b.0));
        side
    });
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.0.cmp(&r.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return,
        };
        let one = if order.is_le() { left.next() } else { None };
        let other = if order.is_ge() { right.next() } else { None };
        match (one, other) {
            (Some(one), Some(other)) => {
                // the checksums themselves are not shown: they say something about the passwords
                let password = if one.1 == other.1 { "same" } else { "other" };
                let (l, r) = (print(what, one.1, "same", one.2), print(what, other.1, password, other.2));
                if l != r {
                    let key = one.0;
                    found.push(format!(
                        "permissions differ on {what} {key}:\n{left_name}: {l}\n differs from:\n{right_name}: {r}"
                    ));
                }
            }
            (Some(one), None) => found.push(format!("{left_name} has an extra {what} {}", one.0)),
            (None, Some(other)) => found.push(format!("{right_name} has an extra {what} {}", other.0)),
            (None, None) => return,
        }
    }
}

fn print(what: &str, checksum: u64, password: &str, privileges: &HashMap<String, String>) -> String {
    let mut text = match (what, checksum) {
        ("user", 0) => "UserPermission NoPassword".to_owned(),
        ("user", _) => format!("UserPermission PasswordChecksum({password})"),
        _ => "DbPermission".to_owned(),
    };
    let mut names: Vec<&String> = privileges.keys().collect();
    names.sort();
    for name in names {
        text.push_str(&format!(" {name}({})", privileges[name]));
    }
    text
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::{DbPermission, UserPermission};

    use super::*;

    fn user(name: &str, password_checksum: u64, grant: &str) -> UserPermission {
        let privileges = [("Select_priv".to_owned(), grant.to_owned())].into();
        UserPermission { host: "%".into(), user: name.into(), password_checksum, privileges }
    }

    #[test]
    fn differences_are_told_and_checksums_are_not() {
        let permissions = |users: Vec<UserPermission>| Permissions { user_permissions: users, db_permissions: vec![] };
        let left = permissions(vec![user("a", 7, "Y"), user("b", 0, "Y"), user("same", 5, "Y")]);
        let mut right =
            permissions(vec![user("a", 8, "Y"), user("b", 0, "N"), user("c", 0, "Y"), user("same", 5, "Y")]);
        right.db_permissions.push(DbPermission {
            host: "%".into(),
            db: "d".into(),
            user: "u".into(),
            ..Default::default()
        });
        assert_eq!(
            diff(("l", &left), ("r", &right)),
            [
                "permissions differ on user %:a:\nl: UserPermission PasswordChecksum(same) Select_priv(Y)\n differs \
                 from:\nr: UserPermission PasswordChecksum(other) Select_priv(Y)",
                "permissions differ on user %:b:\nl: UserPermission NoPassword Select_priv(Y)\n differs from:\nr: \
                 UserPermission NoPassword Select_priv(N)",
                "r has an extra user %:c",
                "r has an extra db %:d:u",
            ]
        );
        assert_eq!(diff(("l", &left), ("r", &left)), Vec::<String>::new());
    }
}
