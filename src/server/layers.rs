//! What crosses every call. The order of the stack is written once, in `app`.

pub mod auth;
pub mod call;
pub mod compression;
pub mod concurrency;
pub mod limits;
pub mod metrics;
pub mod shared;
pub mod shortcut;
