//! The type of a column as `SHOW CREATE TABLE` prints it, in one spelling for all versions of MySQL.

use std::fmt;

/// A column's type: `int unsigned`, `varchar(64) character set latin1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// In lower case: `bigint`, `varchar`.
    pub word: String,
    /// What stands in parentheses; integers have none but `tinyint(1)`.
    pub arguments: Vec<String>,
    pub unsigned: bool,
    /// `None` for the table's.
    pub charset: Option<String>,
}

const INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];
/// Words of types that hold characters, without `char`, which loses blanks at the end.
const TEXTS: [&str; 5] = ["varchar", "tinytext", "text", "mediumtext", "longtext"];
/// Words of types that hold bytes, without `binary`, which adds some.
const BYTES: [&str; 5] = ["varbinary", "tinyblob", "blob", "mediumblob", "longblob"];

impl Kind {
    /// A type from its word, what stands in its parentheses, and the words behind.
    pub fn new(word: &str, arguments: Vec<String>, unsigned: bool, charset: Option<&str>) -> Self {
        let word = word.to_lowercase();
        let width = INTEGERS.contains(&word.as_str()) || word == "year";
        let keeps = !width || (word == "tinyint" && arguments == ["1"]);
        let charset = charset.map(full_charset);
        Self { word, arguments: if keeps { arguments } else { Vec::new() }, unsigned, charset }
    }

    /// True for whole numbers: neither bits nor years.
    pub fn is_integer(&self) -> bool {
        rank(&INTEGERS, &self.word).is_some()
    }

    /// True when every value of `other` is kept as it is in a column of this type. `charsets` are those of the two tables.
    /// What is not known to convert does not.
    pub fn holds(&self, other: &Self, charsets: (&str, &str)) -> bool {
        let charset = |kind: &Self, of_table: &str| kind.charset.clone().unwrap_or_else(|| full_charset(of_table));
        let (ours, theirs) = (charset(self, charsets.0), charset(other, charsets.1));
        match (rank(&INTEGERS, &self.word), rank(&INTEGERS, &other.word)) {
            (Some(a), Some(b)) if self.unsigned == other.unsigned => return a >= b,
            (Some(a), Some(b)) => return other.unsigned && a > b,
            _ => {}
        }
        if TEXTS.contains(&self.word.as_str()) && (TEXTS.contains(&other.word.as_str()) || other.word == "char") {
            return self.capacity() >= other.capacity() && converts(&ours, &theirs);
        }
        if BYTES.contains(&self.word.as_str()) && (BYTES.contains(&other.word.as_str()) || other.word == "binary") {
            return self.capacity() >= other.capacity();
        }
        if self.word == "double" && other.word == "float" {
            return self.unsigned == other.unsigned || other.unsigned;
        }
        self.word == other.word && self.holds_same_word(other) && (ours == theirs || converts(&ours, &theirs))
    }

    fn holds_same_word(&self, other: &Self) -> bool {
        let number = |kind: &Self, at: usize| kind.arguments.get(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        match self.word.as_str() {
            "decimal" => {
                let (scale, other_scale) = (number(self, 1), number(other, 1));
                let whole = number(self, 0).saturating_sub(scale);
                let sign = self.unsigned == other.unsigned || other.unsigned;
                sign && scale >= other_scale && whole >= number(other, 0).saturating_sub(other_scale)
            }
            "float" | "double" => {
                self.arguments == other.arguments && (self.unsigned == other.unsigned || other.unsigned)
            }
            "char" | "bit" | "datetime" | "timestamp" | "time" => number(self, 0) >= number(other, 0),
            // numbers of values travel, so only new ones at the end do no harm
            "enum" | "set" => self.arguments.starts_with(&other.arguments),
            _ => self.arguments == other.arguments && self.unsigned == other.unsigned,
        }
    }

    /// Characters or bytes that fit.
    fn capacity(&self) -> u64 {
        match self.word.as_str() {
            "tinytext" | "tinyblob" => 255,
            "text" | "blob" => 65_535,
            "mediumtext" | "mediumblob" => 16_777_215,
            "longtext" | "longblob" => u64::from(u32::MAX),
            _ => self.arguments.first().and_then(|n| n.parse().ok()).unwrap_or(1),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)?;
        if !self.arguments.is_empty() {
            write!(f, "({})", self.arguments.join(","))?;
        }
        if self.unsigned {
            f.write_str(" unsigned")?;
        }
        self.charset.as_ref().map_or(Ok(()), |charset| write!(f, " character set {charset}"))
    }
}

fn rank(of: &[&str], word: &str) -> Option<usize> {
    of.iter().position(|known| *known == word)
}

/// `utf8` in full, which is how newer servers say it.
pub fn full_charset(name: &str) -> String {
    let name = name.to_lowercase();
    if name == "utf8" { "utf8mb3".to_owned() } else { name }
}

/// True when every character of the one is in the other.
fn converts(into: &str, from: &str) -> bool {
    into == from
        || matches!(
            (into, from),
            ("utf8mb4", "utf8mb3" | "latin1" | "ascii" | "ucs2") | ("utf8mb3", "latin1" | "ascii")
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        let create = format!("CREATE TABLE `t` (\n  `c` {text}\n)");
        crate::sql::ddl::shape(&create).unwrap().columns[0].kind.clone()
    }

    fn holds(a: &str, b: &str) -> bool {
        kind(a).holds(&kind(b), ("utf8mb4", "utf8mb4"))
    }

    #[test]
    fn spellings_of_versions_are_one() {
        assert_eq!(kind("int(11) NOT NULL"), kind("int NOT NULL"));
        assert_eq!(kind("bigint(20) unsigned"), kind("bigint unsigned DEFAULT '0'"));
        assert_eq!(kind("varchar(9) CHARACTER SET utf8"), kind("varchar(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin"));
        assert_eq!(kind("year(4)"), kind("year"));
        assert_ne!(kind("tinyint(1)"), kind("tinyint"));
        assert_eq!(kind("enum('a','b,)')").to_string(), "enum('a','b,)')");
        assert_eq!(kind("decimal(10,2) unsigned").to_string(), "decimal(10,2) unsigned");
    }

    #[test]
    fn words_of_an_expression_are_none_of_its_column() {
        let of = |tail: &str| {
            let expression = "(if((`a` is not null),cast(`a` as unsigned),length(cast(`b` as char charset latin1))))";
            let column = format!("`c` bigint GENERATED ALWAYS AS {expression} STORED{tail}");
            crate::sql::ddl::shape(&format!("CREATE TABLE `t` (\n  {column},\n  UNIQUE KEY `u` (`c`)\n)")).unwrap()
        };
        let shape = of("");
        let column = &shape.columns[0];
        assert!(column.generated && column.nullable && column.kind == kind("bigint"), "{column:?}");
        assert!(!shape.has_usable_key() && of(" NOT NULL").has_usable_key());
    }

    #[test]
    fn wider_types_hold_narrower_ones_and_not_the_other_way_round() {
        for (wide, narrow) in [
            ("bigint", "int(11)"),
            ("bigint", "int unsigned"),
            ("varchar(20)", "varchar(10)"),
            ("varchar(20)", "char(20)"),
            ("mediumtext", "text"),
            ("longblob", "varbinary(20)"),
            ("decimal(12,2)", "decimal(10,2)"),
            ("datetime(6)", "datetime"),
            ("enum('a','b')", "enum('a')"),
            ("double", "float"),
            ("varchar(9)", "varchar(9) CHARACTER SET latin1"),
        ] {
            assert!(holds(wide, narrow) && !holds(narrow, wide), "{wide} {narrow}");
            assert!(holds(wide, wide) && holds(narrow, narrow), "{wide} {narrow}");
        }
        for (a, b) in [
            ("int", "int unsigned"),
            ("int", "varchar(3)"),
            ("enum('a','b')", "enum('b','a')"),
            ("datetime", "timestamp"),
            ("decimal(10,4)", "decimal(10,2)"),
            ("json", "text"),
            ("varchar(9)", "varbinary(9)"),
        ] {
            assert!(!holds(a, b) && !holds(b, a), "{a} {b}");
        }
    }
}
