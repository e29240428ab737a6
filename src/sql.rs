//! SQL text: quoting in one place, edits of DDL by cutting token spans, reading result rows.

pub mod ddl;
mod internal;
mod keywords;
pub mod quote;
pub mod rows;

pub use internal::is_internal;
