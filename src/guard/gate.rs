//! Who is let in to what, over gRPC and over HTTP.

use std::sync::Arc;

use http::HeaderMap;

use super::listen::Peer;
use super::{Auth, Caller, Refusal, Result, Role, Roles, Watched};

/// Checks callers and their roles.
#[derive(Clone)]
pub struct Gate {
    auth: Arc<Auth>,
    roles: Option<Arc<Watched<Roles>>>,
    /// Whoever calls has shown a certificate that the handshake verified.
    certified: bool,
}

/// Why a call is not let through.
#[derive(Debug, thiserror::Error)]
pub enum Denial {
    /// Nobody knows who calls.
    #[error(transparent)]
    Unknown(#[from] Refusal),
    /// He may not do that.
    #[error(
        "caller {:?} has the role {}, and {what} needs {}\nan administrator changes that in the roles file of the server",
        shown(caller), has.word(), needs.word()
    )]
    Role { caller: Caller, has: Role, needs: Role, what: String },
}

impl Gate {
    /// Who calls, if he may do what `needs` a role; `what` is it in the words of the denial.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        needs: Role,
        what: &str,
    ) -> std::result::Result<Caller, Denial> {
        match peer.and_then(|peer| peer.certificate.as_ref()) {
            Some(shown) if !shown.holds() => return Err(Refusal::Withdrawn.into()),
            // the gRPC port takes no such connection, and the HTTP port, for the sake of probes, does
            None if self.certified => return Err(Refusal::NoTls.into()),
            _ => {}
        }
        let caller = self.auth.check(peer, headers)?;
        let Some(roles) = &self.roles else { return Ok(caller) };
        let has = roles.get().of(&caller);
        if has >= needs { Ok(caller) } else { Err(Denial::Role { caller, has, needs, what: what.to_owned() }) }
    }

    /// True when callers prove themselves by a password in the headers.
    pub fn asks_passwords(&self) -> bool {
        matches!(*self.auth, Auth::Static(_))
    }

    /// The files that it follows, to be watched.
    pub fn watch(&self, stopped: &tokio_util::sync::CancellationToken) {
        if let Auth::Static(users) = &*self.auth {
            tokio::spawn(Arc::clone(users).watch(stopped.clone()));
        }
        if let Some(roles) = &self.roles {
            tokio::spawn(Arc::clone(roles).watch(stopped.clone()));
        }
    }

    /// Reads the files that the options name. Without roles everybody who is let in may do everything.
    ///
    /// # Errors
    /// One that cannot be read or used.
    pub fn load(options: &super::Options) -> Result<Self> {
        let roles = options.roles.clone().map(Roles::load).transpose()?;
        let certified = options.tls.ca.is_some() && !options.tls.optional;
        Ok(Self { auth: Arc::new(Auth::load(options.mode.clone())?), roles, certified })
    }
}

fn shown(caller: &Caller) -> &str {
    if caller.name.is_empty() { "anonymous" } else { &caller.name }
}
