//! SQL text: quoting in one place, edits of DDL by cutting token spans, reading result rows.

pub mod ddl;
pub mod quote;
pub mod rows;
