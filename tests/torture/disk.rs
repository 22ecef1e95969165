//! File systems of a scenario's own, in the mount namespace of this process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::support::waiting::{PATIENCE, until};

/// Shuts a file system down as a power cut would.
const CUT: &str = include_str!("cut.py");
/// A metadata commit of ext4 by itself would be luck.
const OPTIONS: &str = "loop,commit=60";
const SIZE: u64 = 512 << 20;

/// Runs a tool; an error says what it said.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        done.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

/// An ext4 on a loop device, which can lose its power.
pub(crate) struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    pub(crate) fn new(image: PathBuf, folder: PathBuf) -> anyhow::Result<Self> {
        let disk = Self { image, folder };
        std::fs::File::create(&disk.image)?.set_len(SIZE)?;
        tool(
            "mkfs.ext4",
            &["-q", "-F", "-J", "size=4", &disk.image.to_string_lossy()],
        )?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> anyhow::Result<()> {
        tool(
            "mount",
            &[
                "-o",
                OPTIONS,
                &self.image.to_string_lossy(),
                &self.folder.to_string_lossy(),
            ],
        )
    }

    /// Writes all that is on it, and nothing of other file systems.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        tool("sync", &["-f", &self.folder.to_string_lossy()])
    }

    /// From now on nothing reaches the disk; what was written and not flushed is lost.
    pub(crate) fn cut(&self) -> anyhow::Result<()> {
        tool("python3", &["-c", CUT, &self.folder.to_string_lossy()])
    }

    /// The power is back. Nobody may have a file open any more.
    pub(crate) async fn restore(&self) -> anyhow::Result<()> {
        let folder = self.folder.to_string_lossy().into_owned();
        until("the disk is free", PATIENCE, async || {
            Ok(tool("umount", &[&folder]).is_ok())
        })
        .await?;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is still mounted goes with the namespace.
        let _ = tool("umount", &["-l", &self.folder.to_string_lossy()]);
    }
}

/// A small file system in memory.
pub(crate) fn small(folder: &Path, size: &str) -> anyhow::Result<()> {
    tool(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size}"),
            "none",
            &folder.to_string_lossy(),
        ],
    )
}

/// Writes until nothing more goes in; answers the file.
pub(crate) fn fill(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("filler");
    let mut filler = std::fs::File::create(&path)?;
    for size in [65536, 4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
    match filler.metadata()?.len() {
        0 => bail!("nothing was to be filled"),
        _ => Ok(path),
    }
}
