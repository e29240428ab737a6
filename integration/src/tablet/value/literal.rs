//! Values as SQL literals, for sessions with names `binary`.

use vtmigrated_proto::query::{Field, Type};

use crate::tablet::schema::Column;

/// The literal that an insert or update of the column takes: numbers bare, bits as `b'…'`, bytes as `_binary'…'`, JSON as
/// `_utf8mb4'…'`, the rest quoted.
#[must_use]
pub fn literal(field: &Field, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.map_or(4, <[u8]>::len) + 2);
    push_literal(field, value, &mut out);
    out
}

/// As [`literal`], at the end of `out`.
pub fn push_literal(field: &Field, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return out.extend_from_slice(b"null") };
    match field.r#type() {
        Type::Int8
        | Type::Uint8
        | Type::Int16
        | Type::Uint16
        | Type::Int24
        | Type::Uint24
        | Type::Int32
        | Type::Uint32
        | Type::Int64
        | Type::Uint64
        | Type::Float32
        | Type::Float64
        | Type::Decimal
        | Type::Year
            if is_number(value) =>
        {
            out.extend_from_slice(value);
        }
        Type::Bit => push_bits(value, out),
        Type::Blob | Type::Binary | Type::Varbinary | Type::Geometry | Type::Vector => {
            out.extend_from_slice(b"_binary");
            push_quoted(value, out);
        }
        Type::Json => {
            out.extend_from_slice(b"_utf8mb4");
            push_quoted(value, out);
        }
        _ => push_quoted(value, out),
    }
}

/// The literal that compares with a key column as the column's index orders it: text in the column's own character set
/// (so that its collation decides), enums and sets by number.
#[must_use]
pub fn comparison_literal(column: &Column, value: &[u8]) -> Vec<u8> {
    let place = |member: &[u8]| column.members.iter().position(|m| m.as_bytes() == member);
    match column.field.r#type() {
        Type::Enum => place(value).map_or(0, |n| n + 1).to_string().into_bytes(),
        Type::Set => {
            let bits = value.split(|&b| b == b',').filter_map(place).fold(0_u64, |bits, n| bits | 1 << n);
            bits.to_string().into_bytes()
        }
        Type::Char | Type::Varchar | Type::Text => {
            let charset = column.charset.as_deref().unwrap_or("utf8mb4");
            [format!("_{charset} ").as_bytes(), &hex(value)].concat()
        }
        Type::Binary | Type::Varbinary | Type::Blob => hex(value),
        Type::Json => [b"cast(".as_slice(), &literal(&column.field, Some(value)), b" as json)"].concat(),
        _ => literal(&column.field, Some(value)),
    }
}

fn is_number(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_digit)
        && value.iter().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
}

fn push_bits(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"b'");
    for byte in value {
        out.extend_from_slice(format!("{byte:08b}").as_bytes());
    }
    out.push(b'\'');
}

fn push_quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for &byte in value {
        let escaped = match byte {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            b'\'' | b'"' | b'\\' => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
    out.push(b'\'');
}

fn hex(value: &[u8]) -> Vec<u8> {
    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Type, value: Option<&[u8]>) -> String {
        let field = Field { r#type: kind.into(), ..Field::default() };
        String::from_utf8(literal(&field, value)).expect("text")
    }

    #[test]
    fn a_literal_has_the_form_of_its_type() {
        assert_eq!(text(Type::Int64, Some(b"-1")), "-1");
        assert_eq!(text(Type::Float64, Some(b"1.5E+00")), "1.5E+00");
        assert_eq!(text(Type::Int64, Some(b"1 or 1")), "'1 or 1'");
        assert_eq!(text(Type::Varchar, Some(b"it's \\ \n\0")), "'it\\'s \\\\ \\n\\0'");
        assert_eq!(text(Type::Bit, Some(&[1, 3])), "b'0000000100000011'");
        assert_eq!(text(Type::Blob, Some(b"a")), "_binary'a'");
        assert_eq!(text(Type::Json, Some(b"{}")), "_utf8mb4'{}'");
        assert_eq!(text(Type::Date, None), "null");
    }

    #[test]
    fn keys_compare_as_their_index_orders_them() {
        let column = |kind: Type, charset: Option<&str>| Column {
            field: Field { r#type: kind.into(), ..Field::default() },
            charset: charset.map(str::to_owned),
            nullable: false,
            generated: false,
            members: vec!["z".to_owned(), "a".to_owned()],
        };
        assert_eq!(comparison_literal(&column(Type::Varchar, Some("latin1")), b"ab"), b"_latin1 x'6162'");
        assert_eq!(comparison_literal(&column(Type::Enum, None), b"a"), b"2");
        assert_eq!(comparison_literal(&column(Type::Set, None), b"z,a"), b"3");
        assert_eq!(comparison_literal(&column(Type::Varbinary, None), b"\x01"), b"x'01'");
    }
}
