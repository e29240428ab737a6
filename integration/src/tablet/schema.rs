//! Tables of a database as Vitess describes them.
