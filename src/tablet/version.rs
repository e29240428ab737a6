//! The build that a tablet's program is of (`/debug/vars`).

use serde::Deserialize;
use vtmigrated_proto::topodata::Tablet;

use super::vars::{self, Failure};
use super::{Client, Error, Result, address_of, alias};
use crate::error::Code;

/// What is wanted of the page. Others stay out of the way.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Vars {
    build_host: String,
    build_user: String,
    build_timestamp: i64,
    build_git_rev: String,
}

impl Client {
    /// The version of a tablet, as stock prints it: `{<host> <user> <time> <revision>}` of its build.
    pub async fn version(&self, tablet: &Tablet) -> Result<String> {
        let (alias, address, method) = (alias(tablet), address_of(tablet, "vt"), vars::PATH);
        let detail = match vars::read(&address, self.short()).await {
            Ok(Vars { build_host, build_user, build_timestamp, build_git_rev }) => {
                return Ok(format!("{{{build_host} {build_user} {build_timestamp} {build_git_rev}}}"));
            }
            Err(Failure::Slow { seconds }) => return Err(Error::Slow { alias, address, method, seconds }),
            Err(Failure::Connection(detail)) => return Err(Error::Unreachable { alias, address, method, detail }),
            Err(Failure::Status(status)) => format!("HTTP status {status}"),
            Err(Failure::Page(detail)) => detail,
        };
        let message = format!("http://{address}{method} of tablet {alias}: {detail}");
        Err(Error::Answered { alias, method, code: Code::Unavailable, message })
    }
}
