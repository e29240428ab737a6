//! Values of keys as SQL literals, for sessions with names `binary`.

use vtmigrated_proto::query::Type;

use crate::{schema::Column, sql::push_value};

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
        Type::Json => [b"cast(".as_slice(), &plain(Type::Json, value), b" as json)"].concat(),
        kind => plain(kind, value),
    }
}

fn plain(kind: Type, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_value(&mut out, kind, Some(value));
    out
}

fn hex(value: &[u8]) -> Vec<u8> {
    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'").into_bytes()
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::Field;

    use super::*;

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
        assert_eq!(comparison_literal(&column(Type::Int64, None), b"-1"), b"-1");
        assert_eq!(comparison_literal(&column(Type::Date, None), b"2026-01-02"), b"'2026-01-02'");
        assert_eq!(comparison_literal(&column(Type::Json, None), b"{}"), b"cast(_utf8mb4'{}' as json)");
    }
}
