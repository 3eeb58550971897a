//! Users, groups and processes by name.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, Uid, User};

use crate::failure::Failure;
use crate::inside::has_entered;
use crate::text::printable;

/// Remembers the names that were looked up, since each look-up may ask a server.
#[derive(Debug, Default)]
pub(crate) struct People {
    users: HashMap<u32, &'static str>,
    groups: HashMap<u32, &'static str>,
}

impl People {
    /// The user's name, or the number where there is none.
    pub(crate) fn user(&mut self, uid: u32) -> &'static str {
        let name = || {
            if has_entered() { None } else { User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name) }
        };
        self.users.entry(uid).or_insert_with(|| named(name(), uid))
    }

    /// The group's name, or the number where there is none.
    pub(crate) fn group(&mut self, gid: u32) -> &'static str {
        let name = || {
            if has_entered() {
                None
            } else {
                Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
            }
        };
        self.groups.entry(gid).or_insert_with(|| named(name(), gid))
    }
}

/// The text of a name, once for all regions that have it, and for as long as the program runs.
fn named(name: Option<String>, number: u32) -> &'static str {
    name.map_or_else(|| number.to_string(), |name| printable(name.as_bytes())).leak()
}

/// What a process calls itself, where it runs and may be seen.
pub(crate) fn command(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(name.strip_suffix(b"\n").unwrap_or(&name)))
}

/// Reads a user as chown(1) does: a name, or else a number.
pub(crate) fn read_user(text: &str) -> Result<(u32, Option<Gid>), Failure> {
    if has_entered() {
        return Ok((number(text).ok_or_else(|| nobody("user", text))?, None));
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), Some(user.gid))),
        _ => Ok((number(text).ok_or_else(|| nobody("user", text))?, None)),
    }
}

/// Reads a group as chown(1) does: a name, or else a number.
pub(crate) fn read_group(text: &str) -> Result<u32, Failure> {
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => number(text).ok_or_else(|| nobody("group", text)),
    }
}

fn number(text: &str) -> Option<u32> {
    // 4294967295 is -1 in C, and nobody's.
    text.parse().ok().filter(|&number| number != u32::MAX && !text.starts_with('+'))
}

fn nobody(kind: &str, text: &str) -> Failure {
    Failure::Failed(format!("there is no {kind} {text:?}: write the name of one, or a number"))
}

/// The user whom a process belongs to, where it runs and may be seen.
pub(crate) fn user_of(pid: u32) -> Option<u32> {
    Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid())
}
