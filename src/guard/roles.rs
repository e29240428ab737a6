//! What a caller may do: read, operate migrations, or everything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{Caller, Error, Result, Watched};

/// What a caller may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    None,
    /// Calls that change nothing.
    Read,
    /// Also what a migration needs from mount to complete.
    Operate,
    /// Everything.
    Admin,
}

impl Role {
    /// As the roles file has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// The `--grpc-roles-file`: `{"default": "read", "callers": {"ann": "admin", "CN=ops,O=x": "operate"}}`. A caller is looked up by
/// its certificate's whole subject, then by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Of callers that are not listed.
    #[serde(default = "nothing")]
    default: Role,
    #[serde(default)]
    callers: BTreeMap<String, Role>,
}

fn nothing() -> Role {
    Role::None
}

impl Roles {
    /// # Errors
    /// A file that cannot be read or says something else.
    pub fn load(file: PathBuf) -> Result<Arc<Watched<Self>>> {
        let path = file.clone();
        let make = move |contents: &[Vec<u8>]| {
            serde_json::from_slice(contents.first().map_or(&[][..], Vec::as_slice)).map_err(|error| Error::Bad {
                path: path.clone(),
                what: "roles",
                detail: error.to_string(),
            })
        };
        Watched::new(vec![file], make)
    }

    /// The role of a caller.
    pub fn of(&self, caller: &Caller) -> Role {
        let listed = |key: &String| (!key.is_empty()).then(|| self.callers.get(key)).flatten().copied();
        listed(&caller.subject).or_else(|| listed(&caller.name)).unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, subject: &str) -> Caller {
        Caller { name: name.into(), subject: subject.into() }
    }

    #[test]
    fn callers_have_the_role_that_the_file_gives() {
        let text = r#"{"default":"read","callers":{"ann":"admin","CN=ops,O=x":"operate","nobody":"none"}}"#;
        let roles: Roles = serde_json::from_str(text).unwrap();
        assert_eq!(roles.of(&caller("ann", "")), Role::Admin);
        assert_eq!(roles.of(&caller("ops", "CN=ops,O=x")), Role::Operate);
        assert_eq!(roles.of(&caller("ops", "CN=ops,O=y")), Role::Read);
        assert_eq!(roles.of(&caller("nobody", "")), Role::None);
        assert_eq!(roles.of(&caller("", "")), Role::Read);
        assert_eq!(serde_json::from_str::<Roles>("{}").unwrap().of(&caller("ann", "")), Role::None);
        serde_json::from_str::<Roles>(r#"{"callers":{"ann":"root"}}"#).unwrap_err();
    }
}
