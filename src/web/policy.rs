//! Who may see which page.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What pages are for, as stock divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Debugging,
    Monitoring,
}

/// `--security_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    AllowAll,
    /// Nothing may be changed; all pages here only show.
    ReadOnly,
    DenyAll,
}

impl Policy {
    /// The policy of a name; `None` for unknown ones: stock denies all then.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::AllowAll),
            "read-only" => Some(Self::ReadOnly),
            "deny-all" => Some(Self::DenyAll),
            _ => None,
        }
    }

    /// Stock's text when the role is refused.
    fn refusal(self, role: Role) -> Option<&'static str> {
        match (self, role) {
            (Self::AllowAll, _) | (Self::ReadOnly, Role::Debugging | Role::Monitoring) => None,
            (Self::DenyAll, _) => Some("not allowed: deny-all security_policy enforced"),
        }
    }
}

/// Lets a request through to a page with a role, or answers 403 with stock's text.
pub async fn guard(State((policy, role)): State<(Policy, Role)>, request: Request, next: Next) -> Response {
    match policy.refusal(role) {
        None => next.run(request).await,
        Some(text) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::FORBIDDEN, plain, format!("Access denied: {text}\n")).into_response()
        }
    }
}
