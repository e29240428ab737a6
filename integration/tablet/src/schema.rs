//! Tables of a database as Vitess describes them: `query.Field` per column, and the columns that order a copy.

pub mod key;

use mysql_async::{
    Column as MysqlColumn,
    consts::{ColumnFlags, ColumnType},
    prelude::Queryable,
};
use vtmigrated_proto::query::{Field, Type};

use crate::sql::quote;

/// The collation of everything that is no text.
pub const BINARY: u32 = 63;

/// One column, in the table's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// All attributes that vttablet 22.0.3 sends for `select *`.
    pub field: Field,
    /// Character set of a text, enum or set column.
    pub charset: Option<String>,
    pub nullable: bool,
    /// Virtual or stored: read from the source, never written to a target.
    pub generated: bool,
    /// The members of an enum or set.
    pub members: Vec<String>,
}

/// A base table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Indexes into `columns`: the primary key in index order, else the cheapest unique key without nullable columns,
    /// else every column.
    pub key: Vec<usize>,
    /// Index of `key`; none when all columns are the key.
    pub key_index: Option<String>,
}

impl Column {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.field.name
    }

    /// The first number in parentheses of the column's type: fraction digits of times, width of `binary(n)`.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        let (_, rest) = self.field.column_type.split_once('(')?;
        rest.split([')', ',']).next()?.trim().parse().ok()
    }
}

impl Table {
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }

    /// The key's fields as streams send them: name, type, charset and flags only.
    #[must_use]
    pub fn key_fields(&self) -> Vec<Field> {
        let short = |field: &Field| Field {
            name: field.name.clone(),
            r#type: field.r#type,
            charset: field.charset,
            flags: field.flags,
            ..Field::default()
        };
        self.key.iter().map(|&n| short(&self.columns[n].field)).collect()
    }

    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name().eq_ignore_ascii_case(name))
    }
}

/// Reads a table's columns and key; `None` when there is no such base table.
///
/// # Errors
/// Those of the server.
pub async fn read_table(conn: &mut impl Queryable, db: &str, table: &str) -> mysql_async::Result<Option<Table>> {
    type Described = (Vec<u8>, Vec<u8>, Option<String>, Option<u32>, String, String);
    let described: Vec<Described> = conn
        .exec(
            "select c.column_name, c.column_type, c.character_set_name, l.id, c.is_nullable, c.extra \
             from information_schema.columns c \
             join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name \
             left join information_schema.collations l on l.collation_name = c.collation_name \
             where c.table_schema = ? and c.table_name = ? and t.table_type = 'BASE TABLE' \
             order by c.ordinal_position",
            (db, table),
        )
        .await?;
    if described.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = described.iter().map(|d| quote(&String::from_utf8_lossy(&d.0))).collect();
    let sql = format!("select {} from {}.{} where 1 != 1", names.join(", "), quote(db), quote(table));
    let sent = conn.query_iter(sql).await?;
    let sent_columns: Vec<MysqlColumn> = sent.columns_ref().to_vec();
    sent.drop_result().await?;
    let columns: Vec<Column> = described
        .into_iter()
        .zip(&sent_columns)
        .map(|((_, column_type, charset, collation, nullable, extra), sent)| {
            let column_type = String::from_utf8_lossy(&column_type).into_owned();
            let extra = extra.to_ascii_uppercase();
            Column {
                members: members(&column_type),
                field: field(sent, column_type, collation.unwrap_or(BINARY)),
                charset,
                nullable: nullable == "YES",
                generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
            }
        })
        .collect();
    let (key_index, key) = key::read(conn, db, table, &columns).await?;
    Ok(Some(Table { name: table.to_owned(), columns, key, key_index }))
}

/// The field of a result column; `collation` is that of the column, not of the connection.
#[must_use]
pub fn field(sent: &MysqlColumn, column_type: String, collation: u32) -> Field {
    Field {
        name: sent.name_str().into_owned(),
        r#type: query_type(sent.column_type(), sent.flags(), collation).into(),
        table: sent.table_str().into_owned(),
        org_table: sent.org_table_str().into_owned(),
        database: sent.schema_str().into_owned(),
        org_name: sent.name_str().into_owned(),
        column_length: sent.column_length(),
        charset: collation,
        decimals: sent.decimals().into(),
        flags: (sent.flags() | number_flag(sent.column_type())).bits().into(),
        column_type,
    }
}

/// Vitess's type of a MySQL type; text and bytes differ by the collation only.
#[must_use]
pub fn query_type(mysql: ColumnType, flags: ColumnFlags, collation: u32) -> Type {
    let sign = |signed, unsigned| if flags.contains(ColumnFlags::UNSIGNED_FLAG) { unsigned } else { signed };
    let text = |text, bytes| if collation == BINARY { bytes } else { text };
    if flags.contains(ColumnFlags::ENUM_FLAG) {
        return Type::Enum;
    }
    if flags.contains(ColumnFlags::SET_FLAG) {
        return Type::Set;
    }
    match mysql {
        ColumnType::MYSQL_TYPE_TINY => sign(Type::Int8, Type::Uint8),
        ColumnType::MYSQL_TYPE_SHORT => sign(Type::Int16, Type::Uint16),
        ColumnType::MYSQL_TYPE_INT24 => sign(Type::Int24, Type::Uint24),
        ColumnType::MYSQL_TYPE_LONG => sign(Type::Int32, Type::Uint32),
        ColumnType::MYSQL_TYPE_LONGLONG => sign(Type::Int64, Type::Uint64),
        ColumnType::MYSQL_TYPE_FLOAT => Type::Float32,
        ColumnType::MYSQL_TYPE_DOUBLE => Type::Float64,
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => Type::Decimal,
        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Type::Timestamp,
        ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => Type::Date,
        ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => Type::Time,
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => Type::Datetime,
        ColumnType::MYSQL_TYPE_YEAR => Type::Year,
        ColumnType::MYSQL_TYPE_BIT => Type::Bit,
        ColumnType::MYSQL_TYPE_JSON => Type::Json,
        ColumnType::MYSQL_TYPE_ENUM => Type::Enum,
        ColumnType::MYSQL_TYPE_SET => Type::Set,
        ColumnType::MYSQL_TYPE_GEOMETRY => Type::Geometry,
        ColumnType::MYSQL_TYPE_VECTOR => Type::Vector,
        ColumnType::MYSQL_TYPE_TINY_BLOB
        | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
        | ColumnType::MYSQL_TYPE_LONG_BLOB
        | ColumnType::MYSQL_TYPE_BLOB => text(Type::Text, Type::Blob),
        ColumnType::MYSQL_TYPE_VARCHAR | ColumnType::MYSQL_TYPE_VAR_STRING => text(Type::Varchar, Type::Varbinary),
        ColumnType::MYSQL_TYPE_STRING => text(Type::Char, Type::Binary),
        ColumnType::MYSQL_TYPE_NULL | ColumnType::MYSQL_TYPE_TYPED_ARRAY | ColumnType::MYSQL_TYPE_UNKNOWN => {
            Type::NullType
        }
    }
}

/// MySQL's C library marks numbers on the client's side, and Vitess does as it does.
fn number_flag(mysql: ColumnType) -> ColumnFlags {
    match mysql {
        ColumnType::MYSQL_TYPE_TIMESTAMP => ColumnFlags::empty(),
        ColumnType::MYSQL_TYPE_YEAR | ColumnType::MYSQL_TYPE_NEWDECIMAL => ColumnFlags::NUM_FLAG,
        other if other as u8 <= ColumnType::MYSQL_TYPE_INT24 as u8 => ColumnFlags::NUM_FLAG,
        _ => ColumnFlags::empty(),
    }
}

/// The members of `enum('a','b''c')` or `set(…)`; none for other types.
fn members(column_type: &str) -> Vec<String> {
    let inner = column_type.strip_prefix("enum(").or_else(|| column_type.strip_prefix("set("));
    let Some(inner) = inner.and_then(|rest| rest.strip_suffix(')')) else { return Vec::new() };
    let mut members = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.next() == Some('\'') {
        let mut member = String::new();
        while let Some(c) = chars.next() {
            if c == '\'' && chars.next_if_eq(&'\'').is_none() {
                break;
            }
            member.push(c);
        }
        members.push(member);
        chars.next_if_eq(&',');
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_members_of_enums_and_sets() {
        assert_eq!(members("enum('a','b,c','it''s','')"), ["a", "b,c", "it's", ""]);
        assert_eq!(members("set('x','y')"), ["x", "y"]);
        assert!(members("varchar(10)").is_empty());
    }

    #[test]
    fn text_and_bytes_differ_by_collation() {
        let none = ColumnFlags::empty();
        assert_eq!(query_type(ColumnType::MYSQL_TYPE_BLOB, none, 255), Type::Text);
        assert_eq!(query_type(ColumnType::MYSQL_TYPE_BLOB, ColumnFlags::BINARY_FLAG, BINARY), Type::Blob);
        assert_eq!(query_type(ColumnType::MYSQL_TYPE_STRING, ColumnFlags::ENUM_FLAG, 255), Type::Enum);
        assert_eq!(query_type(ColumnType::MYSQL_TYPE_LONGLONG, ColumnFlags::UNSIGNED_FLAG, BINARY), Type::Uint64);
    }
}
