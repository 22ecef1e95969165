//! Users and groups of this machine, and what mode bits permit them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// The user that the shipped unit runs the daemon as.
pub(super) const USER: &str = "jobtrackd";

/// The group of those who may enqueue.
pub(super) const GROUP: &str = "jobtrackd-queue";

/// Permission to read, write, and go through a folder.
pub(super) const READ: u32 = 0o4;
pub(super) const WRITE: u32 = 0o2;
pub(super) const PASS: u32 = 0o1;

/// The users and groups of a machine.
#[derive(Debug, Default)]
pub(in crate::cli) struct Accounts {
    pub(super) users: Names,
    pub(super) groups: Names,
}

/// Names and numbers, as far as a file of /etc has them.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(String, u32)>);

impl Names {
    fn parse(file: &str) -> Self {
        let entry = |line: &str| {
            let mut parts = line.split(':');
            let name = parts.next()?.to_owned();
            Some((name, parts.nth(1)?.parse().ok()?))
        };
        Self(file.lines().filter_map(entry).collect())
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let found = self.0.iter().find(|(each, _)| each == name)?;
        Some(found.1)
    }

    /// The name, or the number where there is none.
    pub(super) fn name(&self, number: u32) -> String {
        let found = self.0.iter().find(|(_, each)| *each == number);
        found.map_or_else(|| number.to_string(), |(name, _)| name.clone())
    }
}

impl Accounts {
    pub(in crate::cli) fn of_this_machine() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let (users, groups) = (Names::parse(passwd), Names::parse(group));
        Self { users, groups }
    }

    /// `jobtrackd:jobtrackd-queue`, with numbers for those without a name.
    pub(super) fn shown(&self, who: Identity) -> String {
        format!("{}:{}", self.users.name(who.uid), self.groups.name(who.gid))
    }

    /// `belongs to jobtrackd:jobtrackd-queue with mode 0660`
    pub(super) fn describe(&self, mode: Mode) -> String {
        let owner = self.shown(mode.owner);
        format!("belongs to {owner} with mode {:04o}", mode.bits)
    }
}

/// A user with its first group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Owner and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) owner: Identity,
    pub(super) bits: u32,
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
    /// Whether the bits give `who` all of `wanted`. That holds for root too, and other groups than the first are not known.
    pub(super) fn permits(self, who: Identity, wanted: u32) -> bool {
        let shift = match (who.uid == self.owner.uid, who.gid == self.owner.gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
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
        assert_eq!(accounts.users.number(USER), Some(990));
        assert_eq!(accounts.groups.number(GROUP), Some(985));
        assert_eq!(accounts.users.number("bad"), None);
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
