//! Test clusters and the tablet that stands in for vttablet.

pub mod tablet;
