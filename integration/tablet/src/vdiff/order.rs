//! How values compare: numbers by value, times by time, text of key columns by its collation, the rest byte by byte.
//!
//! The weights of text come from the tablet's own MySQL server, so that every collation is the server's.

use std::cmp::Ordering;

use mysql_async::{Conn, Row, prelude::Queryable};
use vtmigrated_proto::query::Type;

use super::plan::TablePlan;
use crate::{
    engine::error::{Error, Result},
    schema::{BINARY, Column},
    shared::Shared,
    value::Cell,
};

/// Values of which one statement gets the weights; a select has at most 4096 columns.
const BATCH: usize = 1000;

/// What a column's values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Whole numbers and decimals.
    Exact,
    Float,
    /// `TIME`, which may be negative and of any length.
    Span,
    /// Dates and times of day of fixed width.
    Moment,
    /// Ordered by place in this list.
    Enum(Vec<String>),
    /// Ordered by the bits of places in this list.
    Set(Vec<String>),
    Bytes,
}

/// A value that can be compared with others of its column; NULL comes first.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Null,
    Exact(Exact),
    Float(f64),
    Place(u64),
    Bytes(Vec<u8>),
}

/// A decimal number without zeros at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exact {
    negative: bool,
    whole: Vec<u8>,
    fraction: Vec<u8>,
}

impl Class {
    pub(super) fn of(column: &Column) -> Self {
        match column.field.r#type() {
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
            | Type::Year
            | Type::Decimal => Self::Exact,
            Type::Float32 | Type::Float64 => Self::Float,
            Type::Time => Self::Span,
            Type::Date | Type::Datetime | Type::Timestamp => Self::Moment,
            Type::Enum => Self::Enum(column.members.clone()),
            Type::Set => Self::Set(column.members.clone()),
            _ => Self::Bytes,
        }
    }

    /// The value of a cell; text of no such form compares as bytes.
    pub(super) fn part(&self, cell: &Cell) -> Part {
        let Some(value) = cell.as_deref() else { return Part::Null };
        let place = |members: &[String], value: &[u8]| members.iter().position(|member| member.as_bytes() == value);
        let bytes = || Part::Bytes(value.to_vec());
        match self {
            Self::Exact => Exact::parse(value).map_or_else(bytes, Part::Exact),
            Self::Float => {
                let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                parsed.map_or_else(bytes, Part::Float)
            }
            Self::Span => {
                let digits: Vec<u8> = value.iter().copied().filter(|&b| b != b':').collect();
                Exact::parse(&digits).map_or_else(bytes, Part::Exact)
            }
            Self::Moment if value.contains(&b'.') => {
                let end = value.iter().rposition(|&b| b != b'0').map_or(0, |at| at + 1);
                let shown = &value[..end];
                Part::Bytes(shown.strip_suffix(b".").unwrap_or(shown).to_vec())
            }
            Self::Enum(members) => Part::Place(place(members, value).map_or(0, |at| at as u64 + 1)),
            Self::Set(members) => {
                let places = value.split(|&b| b == b',').filter_map(|member| place(members, member));
                Part::Place(places.fold(0, |bits, at| bits | 1_u64.wrapping_shl(at as u32)))
            }
            Self::Moment | Self::Bytes => bytes(),
        }
    }

    /// Whether two cells hold the same value.
    pub(super) fn same(&self, left: &Cell, right: &Cell) -> bool {
        // members of enums and sets compare by name: their places may differ
        let by_name = matches!(self, Self::Enum(_) | Self::Set(_));
        left == right || !by_name && self.part(left) == self.part(right)
    }
}

impl Exact {
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let dot = digits.iter().position(|&b| b == b'.').unwrap_or(digits.len());
        let (whole, fraction) = (&digits[..dot], digits.get(dot + 1..).unwrap_or_default());
        if digits.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let start = whole.iter().position(|&b| b != b'0').unwrap_or(whole.len());
        let end = fraction.iter().rposition(|&b| b != b'0').map_or(0, |at| at + 1);
        let (whole, fraction) = (whole[start..].to_vec(), fraction[..end].to_vec());
        let is_zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: negative && !is_zero, whole, fraction })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let whole = self.whole.len().cmp(&other.whole.len()).then_with(|| self.whole.cmp(&other.whole));
        whole.then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Part {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Exact(left), Self::Exact(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.total_cmp(right),
            (Self::Place(left), Self::Place(right)) => left.cmp(right),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            // values of one column are of one kind, unless a text is no number
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Exact(_) => 1,
            Self::Float(_) => 2,
            Self::Place(_) => 3,
            Self::Bytes(_) => 4,
        }
    }
}

/// How two keys compare.
pub(super) fn compare(left: &[Part], right: &[Part]) -> Ordering {
    let mut orders = left.iter().zip(right).map(|(left, right)| left.compare(right));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The order of a table's rows by its key.
pub(super) struct Order {
    columns: Vec<KeyColumn>,
    conn: Conn,
}

struct KeyColumn {
    /// Place among the selected columns.
    at: usize,
    class: Class,
    /// For text.
    weight: Option<Weight>,
}

struct Weight {
    charset: String,
    collation: String,
    /// Blanks at the end do not count.
    pads: bool,
    /// Declared length in characters.
    length: Option<usize>,
}

impl Order {
    /// Reads the collations of the key's columns.
    ///
    /// # Errors
    /// Those of the server.
    pub(super) async fn new(shared: &Shared, plan: &TablePlan) -> Result<Self> {
        let mut conn = shared.connect().await.map_err(|error| Error::connect(&error, shared.options.mysql_port))?;
        let mut columns = Vec::with_capacity(plan.key.len());
        for &at in &plan.key {
            let column = &plan.columns[at].column;
            let weight = weight(&mut conn, column).await?;
            columns.push(KeyColumn { at, class: Class::of(column), weight });
        }
        Ok(Self { columns, conn })
    }

    /// The keys of rows.
    ///
    /// # Errors
    /// Those of the server.
    pub(super) async fn keys(&mut self, rows: &[Vec<Cell>]) -> Result<Vec<Vec<Part>>> {
        let mut keys: Vec<Vec<Part>> = rows.iter().map(|_| Vec::with_capacity(self.columns.len())).collect();
        for column in &self.columns {
            let cells: Vec<&Cell> = rows.iter().map(|row| row.get(column.at).unwrap_or(&None)).collect();
            let parts = match &column.weight {
                None => cells.into_iter().map(|cell| column.class.part(cell)).collect(),
                Some(weight) => weigh(&mut self.conn, weight, &cells).await?,
            };
            for (key, part) in keys.iter_mut().zip(parts) {
                key.push(part);
            }
        }
        Ok(keys)
    }
}

async fn weight(conn: &mut Conn, column: &Column) -> Result<Option<Weight>> {
    let kind = column.field.r#type();
    let charset = match &column.charset {
        Some(charset) if matches!(kind, Type::Char | Type::Varchar | Type::Text) => charset.clone(),
        _ => return Ok(None),
    };
    if column.field.charset == BINARY {
        return Ok(None);
    }
    let sql = "select collation_name, pad_attribute from information_schema.collations where id = ?";
    let found: Option<(String, String)> = conn
        .exec_first(sql, (column.field.charset,))
        .await
        .map_err(|error| Error::mysql(&error, sql.as_bytes()).wrap("error getting PK column collations"))?;
    Ok(found.map(|(collation, pad)| Weight { charset, collation, pads: pad == "PAD SPACE", length: column.size() }))
}

async fn weigh(conn: &mut Conn, weight: &Weight, cells: &[&Cell]) -> Result<Vec<Part>> {
    let mut parts = Vec::with_capacity(cells.len());
    for batch in cells.chunks(BATCH) {
        let sql = format!("select {}", batch.iter().map(|cell| weight.expression(cell)).collect::<Vec<_>>().join(", "));
        let row: Option<Row> = conn.query_first(&sql).await.map_err(|error| Error::mysql(&error, sql.as_bytes()))?;
        let values = row.map(Row::unwrap).unwrap_or_default();
        parts.extend(values.into_iter().map(|value| match value {
            mysql_async::Value::Bytes(bytes) => Part::Bytes(bytes),
            _ => Part::Null,
        }));
    }
    Ok(parts)
}

impl Weight {
    fn expression(&self, cell: &Cell) -> String {
        let Some(value) = cell else { return "null".to_owned() };
        let trimmed = value.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1);
        let (value, padded) = match (self.pads, self.length) {
            (true, Some(length)) if length > 0 => (&value[..trimmed], format!(" as char({length})")),
            (true, _) => (&value[..trimmed], String::new()),
            (false, _) => (value.as_slice(), String::new()),
        };
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("weight_string(_{} x'{hex}' collate {}{padded})", self.charset, self.collation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(class: &Class, text: &str) -> Part {
        class.part(&Some(text.as_bytes().to_vec()))
    }

    fn ascending(class: &Class, texts: &[&str]) {
        for pair in texts.windows(2) {
            let order = compare(&[part(class, pair[0])], &[part(class, pair[1])]);
            assert_eq!(order, Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        ascending(
            &Class::Exact,
            &["-100", "-20.5", "-20.25", "-3", "0", "0.001", "9", "10", "10.01", "18446744073709551615"],
        );
        assert_eq!(part(&Class::Exact, "1.50"), part(&Class::Exact, "01.5"));
        assert_eq!(part(&Class::Exact, "-0"), part(&Class::Exact, "0.00"));
        ascending(&Class::Float, &["-1e300", "-2.5", "1E-5", "3", "1e10"]);
        assert_eq!(compare(&[Part::Null], &[part(&Class::Exact, "-1")]), Ordering::Less);
    }

    #[test]
    fn times_compare_by_time() {
        ascending(&Class::Span, &["-838:59:59", "-01:00:00", "00:00:01.5", "99:00:00", "100:00:00"]);
        ascending(&Class::Moment, &["2026-01-01 00:00:00", "2026-01-01 00:00:00.5", "2026-01-02 00:00:00"]);
        assert_eq!(part(&Class::Moment, "2026-01-01 00:00:00.000"), part(&Class::Moment, "2026-01-01 00:00:00"));
    }

    #[test]
    fn members_are_ordered_by_place_and_equal_by_name() {
        let class = Class::Enum(vec!["z".to_owned(), "a".to_owned()]);
        ascending(&class, &["", "z", "a"]);
        ascending(&Class::Set(vec!["z".to_owned(), "a".to_owned()]), &["", "z", "a", "z,a"]);
        let cell = |text: &str| Some(text.as_bytes().to_vec());
        assert!(!class.same(&cell("unknown"), &cell("other")));
        assert!(Class::Exact.same(&cell("1.0"), &cell("1")) && !Class::Exact.same(&cell("1"), &None));
    }

    #[test]
    fn blanks_at_the_end_are_filled_up_where_they_do_not_count() {
        let weight = |pads, length| Weight {
            charset: "latin1".to_owned(),
            collation: "latin1_swedish_ci".to_owned(),
            pads,
            length,
        };
        let cell = Some(b"a ".to_vec());
        let start = "weight_string(_latin1 x'61";
        assert_eq!(weight(true, Some(5)).expression(&cell), format!("{start}' collate latin1_swedish_ci as char(5))"));
        assert_eq!(weight(true, None).expression(&cell), format!("{start}' collate latin1_swedish_ci)"));
        assert_eq!(weight(false, Some(5)).expression(&cell), format!("{start}20' collate latin1_swedish_ci)"));
    }
}
