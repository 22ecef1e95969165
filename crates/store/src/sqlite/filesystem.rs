//! The file system of a database, and whether SQLite may be used there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Result, StoreError};

/// A database file, and what the configuration allows.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseFile<'a> {
    /// The file; it need not exist.
    pub path: &'a Path,
    /// Whether it may be on a network file system.
    pub allow_network: bool,
    /// Whether it may be created.
    pub create: bool,
}

impl<'a> DatabaseFile<'a> {
    /// A file that may be created, and whether it may be on a network file system.
    pub fn new(path: &'a Path, allow_network: bool) -> Self {
        Self {
            path,
            allow_network,
            create: true,
        }
    }

    /// Refuses a network file system, unless it is allowed. If it cannot be examined, opening the file will report the reason.
    ///
    /// # Errors
    /// [`StoreError::NetworkFilesystem`].
    pub fn check(&self) -> Result<()> {
        match Filesystem::of(self.path) {
            Ok(found) if found.kind == FilesystemKind::Network && !self.allow_network => {
                Err(StoreError::NetworkFilesystem {
                    path: self.path.to_owned(),
                    name: found.name,
                })
            }
            _ => Ok(()),
        }
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for DatabaseFile<'a> {
    /// On a local disk only.
    fn from(path: &'a P) -> Self {
        Self::new(path.as_ref(), false)
    }
}

/// The kinds of file systems, as they matter to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemKind {
    /// A disk of this machine, as far as can be known.
    Local,
    /// Memory: gone after a reboot.
    Memory,
    /// Other machines may use it too, or a program serves it whose abilities are unknown (FUSE). Locks and the shared memory
    /// of the write-ahead log do not work across machines.
    Network,
}

/// The file system of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Its kind.
    pub kind: FilesystemKind,
    /// Its name: `ext4`, `nfs4`, `sshfs`.
    pub name: String,
}

impl Filesystem {
    /// The file system of a file or, when it does not exist, of its folder.
    ///
    /// # Errors
    /// When neither exists, or neither may be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        let (there, found) = match rustix::fs::statfs(path) {
            Ok(found) => (path, found),
            Err(_) => (folder, rustix::fs::statfs(folder)?),
        };
        // The same numbers on every architecture, whatever the width and the sign of the field.
        let magic = found.f_type as u32;
        let (kind, known) = judge(magic);
        let name = mounted_as(there)
            .or_else(|| known.map(str::to_owned))
            .unwrap_or_else(|| format!("unknown ({magic:#x})"));
        Ok(Self { kind, name })
    }
}

/// The folder of a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Most symbolic links on the way to a file, as Linux has it.
pub const MOST_LINKS: usize = 40;

/// The path of a file with every symbolic link resolved, those at its own name included. The file need not exist, its
/// folder must.
///
/// # Errors
/// When the folder does not exist or may not be searched, the path names a folder, or the links go round in a circle.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MOST_LINKS {
        let Some(name) = path.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let found = fs::canonicalize(folder_of(&path))?.join(name);
        match fs::read_link(&found) {
            Ok(target) => path = folder_of(&found).join(target),
            // Not a link, or it does not exist.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                ) =>
            {
                return Ok(found);
            }
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// `f_type` of file systems that are not a disk of this machine; all others are treated as one.
const KNOWN: [(u32, FilesystemKind, &str); 22] = {
    use FilesystemKind::{Memory, Network};
    [
        (0x0000_6969, Network, "nfs"),
        (0xff53_4d42, Network, "cifs"),
        (0xfe53_4d42, Network, "smb2"),
        (0x0000_517b, Network, "smb"),
        (0x0102_1997, Network, "9p"),
        (0x5346_414f, Network, "afs"),
        (0x6b41_4653, Network, "kafs"),
        (0x00c3_6400, Network, "ceph"),
        (0x0bd0_0bd0, Network, "lustre"),
        (0x6573_5546, Network, "fuse"),
        (0x7375_7245, Network, "coda"),
        (0x0000_564c, Network, "ncp"),
        (0x4750_4653, Network, "gpfs"),
        (0x0116_1970, Network, "gfs2"),
        (0x7461_636f, Network, "ocfs2"),
        (0x1983_0326, Network, "beegfs"),
        (0x2003_0528, Network, "orangefs"),
        (0xaad7_aaea, Network, "panfs"),
        (0x786f_4256, Network, "vboxsf"),
        (0xbacb_acbc, Network, "vmhgfs"),
        (0x0102_1994, Memory, "tmpfs"),
        (0x8584_58f6, Memory, "ramfs"),
    ]
};

fn judge(magic: u32) -> (FilesystemKind, Option<&'static str>) {
    match KNOWN.iter().find(|(number, ..)| *number == magic) {
        Some((_, kind, name)) => (*kind, Some(name)),
        None => (FilesystemKind::Local, None),
    }
}

/// The name of the file system that is mounted at this path, when that can be read.
fn mounted_as(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    named_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, &path)
}

/// The name in the line of `mountinfo` with the longest mount point above `path`; of equal ones the last, which covers
/// the others. `fuse.sshfs` is called `sshfs`.
fn named_in(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let point = PathBuf::from(unescaped(line.split(' ').nth(4)?));
        let name = line.split_once(" - ")?.1.split(' ').next()?;
        path.starts_with(&point)
            .then(|| (point.components().count(), name))
    });
    let (_, name) = mounts.max_by_key(|(depth, _)| *depth)?;
    Some(name.strip_prefix("fuse.").unwrap_or(name).to_owned())
}

/// Blanks, tabs, line breaks and backslashes are `\` and three octal digits in `mountinfo`.
fn unescaped(text: &str) -> String {
    [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", "\\"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (escaped, plain)| {
        text.replace(escaped, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_disks_are_not_among_them() {
        for (magic, name) in [
            (0x6969, "nfs"),
            (0xff53_4d42, "cifs"),
            (0xfe53_4d42, "smb2"),
            (0x0102_1997, "9p"),
            (0x5346_414f, "afs"),
            (0x00c3_6400, "ceph"),
            (0x0bd0_0bd0, "lustre"),
            (0x6573_5546, "fuse"),
        ] {
            assert_eq!(judge(magic), (FilesystemKind::Network, Some(name)));
        }
        // ext4, xfs, btrfs, zfs, f2fs, overlay, bcachefs, erofs
        for magic in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x2fc1_2fc1,
            0xf2f5_2010,
            0x794c_7630,
            0xca45_1a4e,
            0xe0f5_e1e2,
        ] {
            assert_eq!(judge(magic), (FilesystemKind::Local, None), "{magic:#x}");
        }
        assert_eq!(judge(0x0102_1994), (FilesystemKind::Memory, Some("tmpfs")));
    }

    #[test]
    fn the_name_is_that_of_the_deepest_mount() {
        let mounts = "\
22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw - nfs4 host:/srv rw
31 30 0:41 / /srv/my\\040disk rw - fuse.sshfs a@b: rw
32 30 0:42 / /srv/twice rw - ext4 /dev/vdb rw
33 30 0:43 / /srv/twice rw - tmpfs none rw";
        for (path, name) in [
            ("/var/lib/jobtrackd", "ext4"),
            ("/srv/x", "nfs4"),
            ("/srvx", "ext4"),
            ("/srv/my disk/jobs.db", "sshfs"),
            ("/srv/twice", "tmpfs"),
        ] {
            assert_eq!(named_in(mounts, Path::new(path)).unwrap(), name, "{path}");
        }
        assert_eq!(named_in("", Path::new("/")), None);
    }

    #[test]
    fn links_are_resolved_whether_the_file_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        fs::create_dir(at("disk")).unwrap();
        link("disk/jobs.db", "relative");
        link(at("relative").to_str().unwrap(), "absolute");
        link("disk", "folder");
        link("circle", "circle");
        for there in [false, true] {
            if there {
                fs::write(at("disk/jobs.db"), "").unwrap();
            }
            for name in [
                "disk/jobs.db",
                "relative",
                "absolute",
                "folder/../folder/jobs.db",
            ] {
                let found = real_path(&at(name)).unwrap();
                assert_eq!(found, real.join("disk/jobs.db"), "{name}");
            }
        }
        for name in ["circle", "missing/jobs.db", ".."] {
            assert!(real_path(&at(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_path_without_a_file_is_judged_by_its_folder() {
        let found = Filesystem::of(Path::new("/proc/no-such-file")).unwrap();
        assert_eq!(found.name, "proc");
        assert!(Filesystem::of(Path::new("/no/such/folder")).is_err());
    }
}
