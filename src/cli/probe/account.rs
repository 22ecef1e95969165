//! Users and groups of this machine, and what mode bits permit them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// The user that the shipped unit runs the daemon as.
pub(in crate::cli) const USER: &str = "jobtrackd";

/// The group of those who may enqueue.
pub(in crate::cli) const GROUP: &str = "jobtrackd-queue";

/// Permission to read, write, and go through a folder.
pub(super) const READ: u32 = 0o4;
pub(super) const WRITE: u32 = 0o2;
pub(super) const PASS: u32 = 0o1;

/// Names and numbers, as far as the files in /etc have them.
#[derive(Debug, Default)]
pub(in crate::cli) struct Accounts {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl Accounts {
    pub(in crate::cli) fn of_this_machine() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let entries = |text: &str| -> Vec<(String, u32)> {
            text.lines()
                .filter_map(|line| {
                    let mut parts = line.split(':');
                    let name = parts.next()?.to_owned();
                    Some((name, parts.nth(1)?.parse().ok()?))
                })
                .collect()
        };
        Self {
            users: entries(passwd),
            groups: entries(group),
        }
    }

    pub(super) fn user(&self, name: &str) -> Option<u32> {
        number_of(&self.users, name)
    }

    pub(super) fn group(&self, name: &str) -> Option<u32> {
        number_of(&self.groups, name)
    }

    /// `jobtrackd:jobtrackd-queue`, with numbers for those without a name.
    pub(super) fn shown(&self, who: Identity) -> String {
        let user = name_of(&self.users, who.uid);
        let group = name_of(&self.groups, who.gid);
        format!("{user}:{group}")
    }

    /// `belongs to jobtrackd:jobtrackd-queue with mode 0660`
    pub(super) fn describe(&self, mode: Mode) -> String {
        let owner = self.shown(mode.owner);
        format!("belongs to {owner} with mode {:04o}", mode.bits)
    }

    pub(super) fn user_name(&self, uid: u32) -> String {
        name_of(&self.users, uid)
    }

    pub(super) fn group_name(&self, gid: u32) -> String {
        name_of(&self.groups, gid)
    }
}

fn number_of(entries: &[(String, u32)], name: &str) -> Option<u32> {
    let mut numbers = entries.iter().filter(|(each, _)| each == name);
    numbers.next().map(|(_, number)| *number)
}

fn name_of(entries: &[(String, u32)], number: u32) -> String {
    entries
        .iter()
        .find(|(_, each)| *each == number)
        .map_or_else(|| number.to_string(), |(name, _)| name.clone())
}

/// A user with its first group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Identity {
    pub(in crate::cli) uid: u32,
    pub(in crate::cli) gid: u32,
}

/// Owner and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Mode {
    pub(in crate::cli) owner: Identity,
    pub(in crate::cli) bits: u32,
}

impl From<&Metadata> for Mode {
    fn from(found: &Metadata) -> Self {
        Self {
            owner: Identity {
                uid: found.uid(),
                gid: found.gid(),
            },
            bits: found.mode() & 0o7777,
        }
    }
}

impl Mode {
    /// Whether the bits give `who` all of `wanted`. Root is no exception, and other groups than the first are not known.
    pub(super) fn permits(self, who: Identity, wanted: u32) -> bool {
        let shift = if who.uid == self.owner.uid {
            6
        } else if who.gid == self.owner.gid {
            3
        } else {
            0
        };
        (self.bits >> shift) & wanted == wanted
    }

    pub(super) fn permits_group(self, wanted: u32) -> bool {
        (self.bits >> 3) & wanted == wanted
    }

    pub(super) fn permits_others(self, wanted: u32) -> bool {
        self.bits & wanted == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_files_and_numbers_stand_for_the_nameless() {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\n\njobtrackd:x:990:985::/:/sbin/nologin\nbad:x:y\n",
            "root:x:0:\njobtrackd-queue:x:985:alice\n",
        );
        assert_eq!(accounts.user(USER), Some(990));
        assert_eq!(accounts.group(GROUP), Some(985));
        assert_eq!(accounts.user("bad"), None);
        let who = |uid, gid| accounts.shown(Identity { uid, gid });
        assert_eq!(who(990, 985), "jobtrackd:jobtrackd-queue");
        assert_eq!(who(7, 0), "7:root");
    }

    #[test]
    fn the_first_class_that_fits_decides_as_the_kernel_does() {
        let who = |uid, gid| Identity { uid, gid };
        let mode = |bits| Mode {
            owner: who(1, 10),
            bits,
        };
        assert!(mode(0o600).permits(who(1, 99), READ | WRITE));
        assert!(!mode(0o066).permits(who(1, 10), READ));
        assert!(mode(0o060).permits(who(2, 10), READ | WRITE));
        assert!(!mode(0o606).permits(who(2, 10), READ));
        assert!(mode(0o004).permits(who(2, 20), READ));
        assert!(!mode(0o640).permits(who(2, 10), WRITE));
    }
}
