//! What a connection shows to a topology server: TLS and credentials.
//!
//! It comes from flags and from files of this server. It is in no record, and neither logs nor errors print it.

use std::fmt;

pub use crate::tls::Tls;

/// Something that must not be seen; its `Debug` is `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Everything that one server is shown. Each kind of topology uses what it knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub tls: Option<Tls>,
    /// etcd: name and password.
    pub user: Option<(String, Secret)>,
    /// Consul: ACL token.
    pub token: Option<Secret>,
    /// ZooKeeper: scheme and credentials, such as `digest` and `user:password`.
    pub auth: Option<(String, Secret)>,
    /// Nobody but a request names the server: what it says is not repeated.
    pub stranger: bool,
}

impl Access {
    /// The same for a server that no setting names: without the client's certificate.
    pub(super) fn for_strangers(self) -> Self {
        Self { tls: self.tls.map(Tls::without_identity), stranger: true, ..self }
    }

    /// Splits ZooKeeper's `<scheme>:<credentials>`; `None` when there is no colon.
    pub fn zookeeper_auth(text: &str) -> Option<(String, Secret)> {
        let (scheme, credentials) = text.trim_end_matches('\n').split_once(':')?;
        Some((scheme.to_owned(), Secret::new(credentials)))
    }
}

/// Whose topology a connection is for. Only the own cluster's connections show the credentials of the flags: the servers
/// of mounts are named by whoever registers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// This server's own cluster.
    Own,
    /// The mount of this name, which is only read.
    Mount(String),
    /// The mount of this name, which is written to as well: its owner has asked for a way back.
    MountToWrite(String),
    /// Not known.
    #[default]
    Other,
}

impl Holder {
    /// The name of the mount.
    pub fn mount(&self) -> Option<&str> {
        match self {
            Self::Mount(name) | Self::MountToWrite(name) => Some(name),
            Self::Own | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let access = Access {
            tls: None,
            user: Some(("vt".into(), Secret::new("planted-password"))),
            token: Some(Secret::new("planted-token")),
            auth: Access::zookeeper_auth("digest:vt:planted-digest\n"),
            stranger: false,
        };
        let printed = format!("{access:?} {access:#?}");
        assert!(!printed.contains("planted"), "{printed}");
        assert!(printed.contains("digest") && printed.contains("\"vt\""), "{printed}");
        assert_eq!(access.auth.unwrap().1.expose(), "vt:planted-digest");
        assert!(Access::zookeeper_auth("nothing").is_none());
    }
}
