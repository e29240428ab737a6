//! Rules of a stream: which tables, which columns, which rows.
