//! Who sees pages: those who may read over gRPC, with the same passwords and certificates.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::guard::listen::Peer;
use crate::guard::{Denial, Gate, Refusal, Role};

/// Lets a request through whose caller may read, or answers 401 or 403.
pub async fn check(State(gate): State<Option<Gate>>, request: Request, next: Next) -> Response {
    let Some(gate) = gate else { return next.run(request).await };
    let peer = request.extensions().get::<Peer>();
    let headers = credentials(request.headers()).unwrap_or_default();
    match gate.admit(peer, &headers, Role::Read, "a page") {
        Ok(_) => next.run(request).await,
        Err(denial) => refuse(&gate, &denial),
    }
}

/// User and password of HTTP's basic authentication, where the gate looks for them.
fn credentials(headers: &HeaderMap) -> Option<HeaderMap> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = given.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let mut found = HeaderMap::new();
    for (name, value) in [("username", user), ("password", password)] {
        found.insert(HeaderName::from_static(name), HeaderValue::from_str(value).ok()?);
    }
    Some(found)
}

fn refuse(gate: &Gate, denial: &Denial) -> Response {
    let help = match denial {
        Denial::Unknown(Refusal::NoTls | Refusal::WrongCertificate | Refusal::Withdrawn) => {
            "use https with a client certificate that is allowed on the gRPC port"
        }
        Denial::Unknown(_) => "give a user and a password that are allowed on the gRPC port",
        Denial::Role { .. } => "",
    };
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let status = match denial {
        // no password helps
        Denial::Unknown(Refusal::Withdrawn | Refusal::NoTls) => StatusCode::FORBIDDEN,
        Denial::Unknown(_) if gate.asks_passwords() => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    };
    let mut response = (status, plain, format!("Access denied: {denial}\n{help}\n")).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(r#"Basic realm="vtmigrated", charset="UTF-8""#);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
