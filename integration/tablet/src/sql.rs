//! Names and values in SQL, for sessions whose character set is `binary`.

use vtmigrated_proto::query::{Row, Type};

/// Bit of a [`Type`] whose values are written in quotes (Vitess 22.0.3).
const QUOTED: i32 = 2048;

/// A name in backquotes.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string literal: single quotes, with backslash escapes.
pub fn push_string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'\'');
    for &byte in value {
        match byte {
            0 => out.extend(br"\0"),
            b'\'' => out.extend(br"\'"),
            8 => out.extend(br"\b"),
            b'\n' => out.extend(br"\n"),
            b'\r' => out.extend(br"\r"),
            b'\t' => out.extend(br"\t"),
            26 => out.extend(br"\Z"),
            b'\\' => out.extend(br"\\"),
            other => out.push(other),
        }
    }
    out.push(b'\'');
}

/// A string literal as text.
#[must_use]
pub fn string(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len() + 2);
    push_string(&mut out, value.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// A value of a column of type `kind` as the source sends it; `None` is NULL.
pub fn push_value(out: &mut Vec<u8>, kind: Type, value: Option<&[u8]>) {
    let Some(value) = value else {
        out.extend(b"null");
        return;
    };
    match kind {
        Type::Bit => {
            out.extend(b"x'");
            for byte in value {
                out.extend(format!("{byte:02x}").as_bytes());
            }
            out.push(b'\'');
        }
        Type::Json => {
            // a string of character set binary cannot become JSON
            out.extend(b"_utf8mb4");
            push_string(out, value);
        }
        kind if kind as i32 & QUOTED != 0 => push_string(out, value),
        _ => out.extend(value),
    }
}

/// The values of a row in order; `None` is NULL.
///
/// # Errors
/// A text that says how the lengths do not fit.
pub fn values(row: &Row) -> Result<Vec<Option<&[u8]>>, String> {
    let mut rest = row.values.as_slice();
    let mut values = Vec::with_capacity(row.lengths.len());
    for &length in &row.lengths {
        let Ok(length) = usize::try_from(length) else {
            values.push(None);
            continue;
        };
        let Some((value, tail)) = rest.split_at_checked(length) else {
            return Err(format!("row has {} bytes where {length} are said to be", rest.len()));
        };
        values.push(Some(value));
        rest = tail;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(kind: Type, value: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        push_value(&mut out, kind, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kinds_decide_about_quotes() {
        assert_eq!(literal(Type::Int64, Some(b"-5")), "-5");
        assert_eq!(literal(Type::Decimal, Some(b"1.50")), "1.50");
        assert_eq!(literal(Type::Varchar, Some(b"a'b\\\n")), r"'a\'b\\\n'");
        assert_eq!(literal(Type::Datetime, Some(b"2026-01-02 03:04:05")), "'2026-01-02 03:04:05'");
        assert_eq!(literal(Type::Bit, Some(b"\x01\xff")), "x'01ff'");
        assert_eq!(literal(Type::Json, Some(b"{\"a\": 1}")), "_utf8mb4'{\"a\": 1}'");
        assert_eq!(literal(Type::Json, None), "null");
    }

    #[test]
    fn rows_are_cut_by_their_lengths() {
        let row = Row { lengths: vec![-1, 0, 2], values: b"ab".to_vec() };
        assert_eq!(values(&row).unwrap(), vec![None, Some(&b""[..]), Some(&b"ab"[..])]);
        assert!(values(&Row { lengths: vec![3], values: b"ab".to_vec() }).is_err());
    }
}
