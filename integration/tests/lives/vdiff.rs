//! VDiff: the tablets' part of it, and the whole of it through the server.

mod life;
mod support;
mod tablet;
