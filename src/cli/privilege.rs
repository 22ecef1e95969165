//! Run as root, a command works on a database as the owner of its folder.
//!
//! Others may write that folder: the members of its group, who enqueue. They can put a link at any name in it, and root
//! would follow it to any file of the machine. The owner can only be led to the owner's own files. Linux keeps users and
//! groups per thread, and a new thread has those of the thread that starts it: so everything that a thread starts after it
//! has changed them, SQLite's threads too, runs as that owner.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, capabilities, set_capabilities, set_keep_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::store::sqlite::MOST_LINKS;

/// Reading, whatever the mode: the path may lead through folders that only their owner may enter.
const READING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// The owner of a database's folder, as whom root works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    folder: PathBuf,
    user: u32,
    group: u32,
    /// The group of the database, when the owner has given it another one.
    other_group: Option<u32>,
}

impl Owner {
    /// As whom root works on the file at `path`; `None` when this is not root, or the folder belongs to root.
    ///
    /// # Errors
    /// When the path leads through a link which others can make to a folder of root.
    pub(super) fn of(path: &Path) -> anyhow::Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let (folder, name) = folder_behind(path)?;
        let owner = fs::metadata(&folder)?;
        if owner.uid() == 0 {
            return Ok(None);
        }
        let database = fs::symlink_metadata(folder.join(name)).ok();
        let shared = database.filter(|file| file.uid() == owner.uid() && file.nlink() == 1);
        Ok(Some(Self {
            folder,
            user: owner.uid(),
            group: owner.gid(),
            other_group: shared.map(|file| file.gid()),
        }))
    }

    /// User and group.
    pub(super) fn ids(&self) -> (u32, u32) {
        (self.user, self.group)
    }

    /// Makes this thread, and all that it starts from now on, run as the owner. It cannot be undone.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(super) fn assume(&self) -> anyhow::Result<()> {
        let assuming = || {
            let kept = capabilities(None)?.permitted & READING;
            let groups: Vec<Gid> = self.other_group.map(Gid::from_raw).into_iter().collect();
            let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
            set_keep_capabilities(true)?;
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
            let reduced = CapabilitySets {
                effective: kept,
                permitted: kept,
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, reduced)
        };
        assuming().with_context(|| {
            format!(
                "root works in {folder} as its owner, user {user}, and cannot become that user; run this as user {user}",
                folder = self.folder.display(),
                user = self.user
            )
        })
    }

    /// Runs `work` in a thread as the owner, and waits for it.
    ///
    /// # Errors
    /// That of `work`, or why the thread cannot run as the owner.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.assume()?;
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

/// Continues as the owner of the folder of this database, if this is root and the folder belongs to another user.
///
/// # Errors
/// Those of [`Owner::of`] and [`Owner::assume`].
pub(super) fn leave_to_owner(database: &Path) -> anyhow::Result<()> {
    match Owner::of(database)? {
        Some(owner) => owner.assume(),
        None => Ok(()),
    }
}

/// Whether this is root, or was before it continued as another user: it may read everything.
pub(super) fn reads_as_root() -> bool {
    let may = |sets: CapabilitySets| sets.effective.contains(READING);
    geteuid().is_root() || capabilities(None).is_ok_and(may)
}

/// Refuses a path that leads through a link which others can make to a folder of root.
///
/// # Errors
/// When it is such a path, or leads to a folder.
pub(super) fn check_way(path: &Path) -> anyhow::Result<()> {
    folder_behind(path).map(drop)
}

/// The folder of the file that `path` leads to, and the file's name there.
fn folder_behind(path: &Path) -> anyhow::Result<(PathBuf, OsString)> {
    let path = std::path::absolute(path)?;
    let mut rest: VecDeque<OsString> = names(&path);
    let (mut folder, mut links) = (PathBuf::from("/"), 0);
    let mut foreign: Option<PathBuf> = None;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            folder.pop();
            continue;
        }
        let at = folder.join(&name);
        // The command that needs the file reports that it does not exist.
        let Ok(found) = fs::symlink_metadata(&at) else {
            return trusted(folder, name, foreign);
        };
        if found.is_symlink() {
            links += 1;
            let (link, target) = (at.display(), fs::read_link(&at)?);
            let (user, keeper) = (found.uid(), fs::metadata(&folder)?.uid());
            if links > MOST_LINKS {
                bail!("{link} is one of too many symbolic links; name the file itself");
            }
            // The owner of a folder and root may put links into it; others who may write it may not.
            if ![0, keeper].contains(&user) {
                bail!(
                    "{link} is a symbolic link of user {user} to {target}; root follows none in a folder that is not that \
                     user's own: remove it",
                    target = target.display()
                );
            }
            if user != 0 || keeper != 0 {
                foreign.get_or_insert_with(|| at.clone());
            }
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            for name in names(&target).into_iter().rev() {
                rest.push_front(name);
            }
        } else if rest.is_empty() {
            return trusted(folder, name, foreign);
        } else {
            folder = at;
        }
    }
    bail!("{} is a folder; name a file", path.display())
}

/// The names in a path, from the top.
fn names(path: &Path) -> VecDeque<OsString> {
    let named = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(named).collect()
}

fn trusted(
    folder: PathBuf,
    name: OsString,
    foreign: Option<PathBuf>,
) -> anyhow::Result<(PathBuf, OsString)> {
    match foreign {
        Some(foreign) if fs::metadata(&folder)?.uid() == 0 => bail!(
            "the symbolic link {foreign}, which others than root can make, leads to {file} in a folder of root; root does \
             not follow it there: remove it, or name the file itself",
            file = folder.join(name).display(),
            foreign = foreign.display()
        ),
        _ => Ok((folder, name)),
    }
}
