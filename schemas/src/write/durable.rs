//! Files that are there whole or not at all: scratch sibling, sync, then its name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What scratch files' names begin with.
pub const SCRATCH_PREFIX: &str = ".lcl-scratch-";

/// A file without its name yet. Its owner holds its lock; dropped without a name, it is removed.
pub struct Scratch {
    path: PathBuf,
    file: File,
    folder: PathBuf,
    named: bool,
}

impl Scratch {
    /// A new one beside what it will be.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{SCRATCH_PREFIX}{}-{number}", std::process::id()));
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            file.lock()?;
            // Between its making and its locking another run may have taken it for litter.
            if path.exists() {
                return Ok(Self {
                    path,
                    file,
                    folder: folder.to_owned(),
                    named: false,
                });
            }
        }
    }

    /// Gives it its name, in place of what has it.
    ///
    /// # Errors
    /// What the system said.
    pub fn replace(mut self, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.folder.join(name))?;
        self.named = true;
        sync(&self.folder)
    }

    /// Gives it its name unless something has it; whether it got it.
    ///
    /// # Errors
    /// What the system said.
    pub fn put_if_absent(mut self, name: &str) -> io::Result<bool> {
        self.file.sync_all()?;
        let linked = match fs::hard_link(&self.path, self.folder.join(name)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        fs::remove_file(&self.path)?;
        self.named = true;
        sync(&self.folder)?;
        Ok(linked)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is swept by the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes all of a file, in place of what has its name.
///
/// # Errors
/// What the system said.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut scratch = Scratch::new(folder)?;
    scratch.write_all(bytes)?;
    scratch.replace(name)
}

/// Writes all of a file unless something has its name; whether it got it.
///
/// # Errors
/// What the system said.
pub fn put_if_absent(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<bool> {
    let mut scratch = Scratch::new(folder)?;
    scratch.write_all(bytes)?;
    scratch.put_if_absent(name)
}

/// Removes scratch files whose owners are gone: a lock outlives no process.
///
/// # Errors
/// What the system said.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_string_lossy()
            .starts_with(SCRATCH_PREFIX)
        {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a folder's names last.
///
/// # Errors
/// What the system said.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_to_put_a_name_keeps_it_and_no_scratch_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |bytes: &[u8]| put_if_absent(folder.path(), "a", bytes).expect("writable");
        assert_eq!((put(b"first"), put(b"second")), (true, false));
        assert_eq!(fs::read(folder.path().join("a")).expect("there"), b"first");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn an_abandoned_scratch_is_swept_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(".lcl-scratch-1-1"), b"left").expect("writable");
        fs::write(folder.path().join(".other"), b"").expect("writable");
        let used = Scratch::new(folder.path()).expect("writable");
        sweep(folder.path()).expect("readable");
        assert_eq!(names(folder.path()).len(), 2);
        used.replace("b").expect("still there");
        assert_eq!(names(folder.path()), [".other", "b"]);
    }
}
