//! The subject of a certificate as Go prints it (`pkix.Name.String`): what `--grpc_auth_mtls_allowed_substrings` is
//! searched in.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// Attributes that have a name, in the order in which Go collects them; the text shows them backwards.
const NAMED: &[(&str, &str)] = &[
    ("2.5.4.6", "C"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
];

/// Subject and common name of a certificate; `None` when it cannot be read.
pub fn of(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut known: Vec<(&str, Vec<String>)> = NAMED.iter().map(|(_, short)| (*short, Vec::new())).collect();
    let mut others = Vec::new();
    for attribute in certificate.subject().iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        match NAMED.iter().position(|(name, _)| *name == oid) {
            Some(at) => known[at].1.push(text(attribute)),
            None => others.push(format!("{oid}=#{}", hex(attribute))),
        }
    }
    let common_name = known.iter().find(|(short, _)| *short == "CN").and_then(|(_, values)| values.last().cloned());
    // a certificate has one common name and one serial number: of several, Go keeps the last
    for (short, values) in &mut known {
        if matches!(*short, "CN" | "SERIALNUMBER") {
            values.drain(..values.len().saturating_sub(1));
        }
    }
    let parts = known.iter().filter(|(_, values)| !values.is_empty()).map(|(short, values)| {
        values.iter().map(|value| format!("{short}={}", escaped(value))).collect::<Vec<_>>().join("+")
    });
    let mut parts: Vec<String> = parts.chain(others).collect();
    parts.reverse();
    Some((parts.join(","), common_name.unwrap_or_default()))
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    match attribute.as_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(attribute.attr_value().data).into_owned(),
    }
}

fn hex(attribute: &AttributeTypeAndValue<'_>) -> String {
    attribute.attr_value().data.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Special characters get a backslash, as RFC 2253 wants.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::new();
    for (at, c) in value.chars().enumerate() {
        let special = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
