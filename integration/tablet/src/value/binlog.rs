//! Binlog values as the text protocol would print them.

use mysql_async::{Value, binlog::value::BinlogValue};
use vtmigrated_proto::query::Type;

use super::{Cell, Error, json};
use crate::schema::Column;

/// The text of one binlog value. Floating point numbers have Vitess's form (`1.5E+00`); everything else is what a select
/// prints with time zone `+00:00` and names `binary`.
///
/// # Errors
/// The value is of another type than the column, or a partial JSON value.
pub fn binlog_text(column: &Column, value: &BinlogValue<'_>) -> Result<Cell, Error> {
    let value = match value {
        BinlogValue::Value(Value::NULL) => return Ok(None),
        BinlogValue::Value(value) => value,
        BinlogValue::Jsonb(value) => {
            let source = |source| Error::Binlog { column: column.name().to_owned(), source };
            return json::text(value).map(Some).map_err(source);
        }
        BinlogValue::JsonDiff(_) => return Err(Error::PartialJson { column: column.name().to_owned() }),
    };
    text(column, value).map(Some).ok_or_else(|| Error::Type {
        column: column.name().to_owned(),
        column_type: column.field.column_type.clone(),
        what: value.as_sql(true),
    })
}

fn text(column: &Column, value: &Value) -> Option<Vec<u8>> {
    let text = match (column.field.r#type(), value) {
        (Type::Enum, &Value::Int(index)) => match usize::try_from(index).ok()? {
            0 => String::new(),
            index => column.members.get(index - 1)?.clone(),
        },
        (Type::Set, Value::Bytes(bits)) => set(column, bits),
        (Type::Float32, Value::Float(number)) => float(&format!("{number:E}")),
        (Type::Float64, Value::Double(number)) => float(&format!("{number:E}")),
        (Type::Timestamp, Value::Bytes(seconds)) => timestamp(column, seconds)?,
        (Type::Date, &Value::Date(year, month, day, ..)) => format!("{year:04}-{month:02}-{day:02}"),
        (Type::Datetime | Type::Timestamp, &Value::Date(year, month, day, hour, minute, second, micros)) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}") + &fraction(column, micros)
        }
        (Type::Time, &Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let sign = if negative { "-" } else { "" };
            let hours = u64::from(days) * 24 + u64::from(hours);
            format!("{sign}{hours:02}:{minutes:02}:{seconds:02}") + &fraction(column, micros)
        }
        // The binlog counts years from 1900, and 0 stands for the year 0000.
        (Type::Year, Value::Bytes(year)) if year == b"1900" => "0000".to_owned(),
        (Type::Binary, Value::Bytes(bytes)) => {
            let mut bytes = bytes.clone();
            bytes.resize(column.size().unwrap_or(1).max(bytes.len()), 0);
            return Some(bytes);
        }
        (_, Value::Bytes(bytes)) => return Some(bytes.clone()),
        (kind, &Value::Int(number)) => integer(column, i128::from(number) + wrap(kind, number)?),
        (_, &Value::UInt(number)) => integer(column, number.into()),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// What a number lacks that was read with the wrong sign: a negative one of an unsigned column, whose sign only the table's
/// metadata tells, and the least `mediumint`, which mysql_common 0.37.3 reads as positive. `None` for types that are no
/// integers.
fn wrap(kind: Type, number: i64) -> Option<i128> {
    let bits = match kind {
        Type::Uint8 => 8,
        Type::Uint16 => 16,
        Type::Uint24 => 24,
        Type::Uint32 => 32,
        Type::Uint64 => 64,
        Type::Int24 if number >= 1 << 23 => return Some(-(1 << 24)),
        Type::Int8 | Type::Int16 | Type::Int24 | Type::Int32 | Type::Int64 | Type::Year => return Some(0),
        _ => return None,
    };
    Some(if number < 0 { 1_i128 << bits } else { 0 })
}

/// Zerofill columns are printed at their display width.
fn integer(column: &Column, number: i128) -> String {
    let width = column.size().filter(|_| column.field.column_type.ends_with("zerofill")).unwrap_or(0);
    format!("{number:0width$}")
}

/// Rust prints `1.5E0`, Vitess at least two digits and a sign.
fn float(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}E{sign}{:02}", exponent.abs())
}

fn set(column: &Column, bits: &[u8]) -> String {
    let is_set = |n: usize| bits.get(n / 8).is_some_and(|byte| byte & (1 << (n % 8)) != 0);
    let members = column.members.iter().enumerate().filter(|(n, _)| is_set(*n)).map(|(_, member)| member.as_str());
    members.collect::<Vec<_>>().join(",")
}

/// `seconds` is `1700000000` or `1700000000.123456`; 0 stands for the zero date.
fn timestamp(column: &Column, seconds: &[u8]) -> Option<String> {
    let (seconds, micros) = match seconds.iter().position(|&b| b == b'.') {
        Some(dot) => (&seconds[..dot], std::str::from_utf8(&seconds[dot + 1..]).ok()?.parse().ok()?),
        None => (seconds, 0),
    };
    let seconds: i64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    let time = match seconds {
        0 => "0000-00-00 00:00:00".to_owned(),
        _ => jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    };
    Some(time + &fraction(column, micros))
}

fn fraction(column: &Column, micros: u32) -> String {
    match column.size() {
        Some(digits) if (1..=6).contains(&digits) => format!(".{micros:06}")[..=digits].to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::Field;

    use super::*;

    fn column(kind: Type, column_type: &str) -> Column {
        let field = Field { r#type: kind.into(), column_type: column_type.to_owned(), ..Field::default() };
        let members = vec!["a".to_owned(), "b".to_owned()];
        Column { field, charset: None, nullable: true, generated: false, members }
    }

    #[test]
    fn prints_what_a_select_prints() {
        let cases = [
            (Type::Uint8, "tinyint unsigned", Value::Int(-1), "255"),
            (Type::Uint64, "bigint unsigned", Value::Int(-1), "18446744073709551615"),
            (Type::Int24, "mediumint", Value::Int(1 << 23), "-8388608"),
            (Type::Int32, "int(5) zerofill", Value::Int(42), "00042"),
            (Type::Float32, "float", Value::Float(1.5), "1.5E+00"),
            (Type::Float64, "double", Value::Double(-1.25e-7), "-1.25E-07"),
            (Type::Year, "year(4)", Value::Bytes(b"1900".to_vec()), "0000"),
            (Type::Date, "date", Value::Date(0, 0, 0, 0, 0, 0, 0), "0000-00-00"),
            (Type::Datetime, "datetime(3)", Value::Date(2024, 2, 29, 1, 2, 3, 4000), "2024-02-29 01:02:03.004"),
            (Type::Time, "time(2)", Value::Time(true, 34, 22, 59, 59, 990_000), "-838:59:59.99"),
            (Type::Timestamp, "timestamp", Value::Bytes(b"1700000000".to_vec()), "2023-11-14 22:13:20"),
            (Type::Timestamp, "timestamp(6)", Value::Bytes(b"1.000005".to_vec()), "1970-01-01 00:00:01.000005"),
            (Type::Timestamp, "timestamp(1)", Value::Bytes(b"0".to_vec()), "0000-00-00 00:00:00.0"),
            (Type::Enum, "enum('a','b')", Value::Int(2), "b"),
            (Type::Enum, "enum('a','b')", Value::Int(0), ""),
            (Type::Set, "set('a','b')", Value::Bytes(vec![3]), "a,b"),
            (Type::Binary, "binary(3)", Value::Bytes(b"x".to_vec()), "x\0\0"),
            (Type::Char, "char(3)", Value::Bytes(b"x".to_vec()), "x"),
        ];
        for (kind, column_type, value, want) in cases {
            let cell = binlog_text(&column(kind, column_type), &BinlogValue::Value(value)).expect(column_type);
            assert_eq!(cell.as_deref().map(String::from_utf8_lossy).as_deref(), Some(want), "{column_type}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        let wrong = binlog_text(&column(Type::Enum, "enum('a','b')"), &BinlogValue::Value(Value::Int(9)));
        assert!(wrong.expect_err("no such member").to_string().contains("enum('a','b')"));
    }
}
