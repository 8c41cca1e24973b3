//! File systems on loop devices, whose power can be cut.
//!
//! The device is a file on an outer file system, on a loop device too. Cutting
//! off the inner one loses what the kernel held; cutting off the outer one loses
//! what the device held as well and was not told to flush: a drive with a
//! volatile cache.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const MKFS: &str = "mkfs.ext4";
const XFS_IO: &str = "xfs_io";

/// Administrators' programs may lie off the path of others.
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The journal is committed by syncs alone, so that a cut loses the most.
const MOUNT: &str = "loop,commit=600";
/// What the outer file system needs for itself.
const OUTER_MEBIBYTES: u64 = 64;

/// What loses its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The machine: what was written to the device is on it.
    Machine,
    /// Machine and drive: of what was written, what was flushed is on it.
    Drive,
}

/// A fresh ext4 file system on a loop device, mounted.
pub struct LoopFs {
    dir: TempDir,
}

impl LoopFs {
    /// Makes one of `mebibytes`; says why not, where the machine has not what
    /// it takes.
    ///
    /// # Errors
    /// What is missing.
    pub fn fresh(mebibytes: u64) -> Result<Self, String> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Err("only root mounts loop devices".to_owned());
        }
        for program in [MKFS, XFS_IO, "mount", "umount"] {
            let found = PATHS.split(':').any(|dir| Path::new(dir).join(program).exists());
            if !found {
                return Err(format!(
                    "{program} is missing (Debian: e2fsprogs, xfsprogs, mount)"
                ));
            }
        }
        let fs = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(fs.outer()).unwrap();
        std::fs::create_dir(fs.root()).unwrap();
        make(&fs.drive(), mebibytes + OUTER_MEBIBYTES)?;
        mount(&fs.drive(), &fs.outer())?;
        make(&fs.image(), mebibytes)?;
        mount(&fs.image(), &fs.root())?;
        Ok(fs)
    }

    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn drive(&self) -> PathBuf {
        self.dir.path().join("drive")
    }

    fn outer(&self) -> PathBuf {
        self.dir.path().join("outer")
    }

    fn image(&self) -> PathBuf {
        self.outer().join("image")
    }

    /// From now on nothing is kept; what was not synced is lost.
    pub fn cut_power(&self, cut: Cut) {
        let root = match cut {
            Cut::Machine => self.root(),
            Cut::Drive => self.outer(),
        };
        // Without -f the journal is not flushed before.
        run(Command::new(XFS_IO).args(["-x", "-c", "shutdown"]).arg(root)).unwrap();
    }

    /// Mounts what is left, as after a restart. No process may have a file open.
    pub fn restart(&self) {
        unmount(&self.root()).unwrap();
        unmount(&self.outer()).unwrap();
        mount(&self.drive(), &self.outer()).unwrap();
        mount(&self.image(), &self.root()).unwrap();
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // Whatever is not mounted is not there to be unmounted; a test that
        // failed may have left files open.
        for root in [self.root(), self.outer()] {
            let mut command = Command::new("umount");
            let _ = command.arg("--lazy").arg(root).env("PATH", PATHS).output();
        }
    }
}

fn make(image: &Path, mebibytes: u64) -> Result<(), String> {
    let file = std::fs::File::create(image).map_err(|error| error.to_string())?;
    file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
    run(Command::new(MKFS).args(["-q", "-F"]).arg(image))
}

fn mount(image: &Path, at: &Path) -> Result<(), String> {
    run(Command::new("mount").args(["-o", MOUNT]).arg(image).arg(at))
}

fn unmount(at: &Path) -> Result<(), String> {
    run(Command::new("umount").arg(at))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .env("PATH", PATHS)
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// A file system in memory of a given size, mounted.
pub struct TmpFs {
    dir: TempDir,
}

impl TmpFs {
    /// # Errors
    /// Why it cannot be made here.
    pub fn fresh(kibibytes: u64) -> Result<Self, String> {
        let fs = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(fs.root()).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "tmpfs"]);
        run(command.arg(fs.root()))?;
        Ok(fs)
    }

    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Makes it as large as this.
    pub fn grow(&self, kibibytes: u64) {
        self.remount(&format!("size={kibibytes}k"));
    }

    /// Mounts it in another way: `ro`, `rw`.
    pub fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        run(Command::new("mount").args(["-o", &options]).arg(self.root())).unwrap();
    }
}

impl Drop for TmpFs {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.root())
            .env("PATH", PATHS)
            .output();
    }
}
