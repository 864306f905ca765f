//! An export's folder: a scratch sibling until everything is in it, then it has its name.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::ExportError;

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// Its name in the folder.
    pub file: String,
    /// Documents in it.
    pub documents: u64,
    /// Of the file.
    pub bytes: u64,
    /// Of the file, lower-case hex.
    pub sha256: String,
}

/// The folder, without its name yet. Dropped without a name, it is removed.
pub(super) struct Folder {
    scratch: PathBuf,
    out: PathBuf,
    /// Held while it is written; the system gives it back however a process ends.
    lock: File,
    named: bool,
}

impl Folder {
    /// Begins the folder `out`, which must not be there or be empty. What an export that was killed left beside it is
    /// removed.
    pub(super) fn begin(out: &Path) -> Result<Self, ExportError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Io { path, source }
        };
        let name = out
            .file_name()
            .ok_or_else(|| ExportError::NoName(out.to_owned()))?;
        match fs::read_dir(out).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(ExportError::Occupied(out.to_owned())),
        }
        if out.is_symlink() {
            // It cannot be replaced by a folder, and following it is not ours to decide.
            return Err(ExportError::Occupied(out.to_owned()));
        }
        let parent = parent(out);
        fs::create_dir_all(parent).map_err(io(parent))?;
        let scratch = parent.join(format!(".{}.lcl-scratch", name.to_string_lossy()));
        match fs::create_dir(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io(&scratch)(error));
            }
            _ => {}
        }
        let lock = File::open(&scratch).map_err(io(&scratch))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ExportError::Busy(out.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(&scratch)(source)),
        }
        let folder = Self {
            scratch,
            out: out.to_owned(),
            lock,
            named: false,
        };
        for entry in fs::read_dir(&folder.scratch).map_err(io(&folder.scratch))? {
            let left = entry.map_err(io(&folder.scratch))?.path();
            fs::remove_file(&left).map_err(io(&left))?;
        }
        Ok(folder)
    }

    /// An error of the system as one about this folder.
    pub(super) fn refused(&self, source: io::Error) -> ExportError {
        ExportError::Io {
            path: self.out.clone(),
            source,
        }
    }

    /// An error of Parquet as one about this folder.
    pub(super) fn parquet_refused(&self, source: ParquetError) -> ExportError {
        ExportError::Parquet {
            path: self.out.clone(),
            source,
        }
    }

    /// A new file in it.
    pub(super) fn file(&self, name: String) -> Result<OutFile, ExportError> {
        let path = self.scratch.join(&name);
        let file = File::create_new(&path).map_err(|source| ExportError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(OutFile {
            name,
            path,
            inner: BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// A file without a name: gone when it is dropped.
    pub(super) fn spool(&self) -> Result<File, ExportError> {
        let path = self.scratch.join("spool");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|file| fs::remove_file(&path).map(|()| file));
        file.map_err(|source| ExportError::Io { path, source })
    }

    /// A whole small file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let mut file = self.file(name.to_owned())?;
        file.put(bytes)?;
        file.finish(0).map(drop)
    }

    /// Gives it its name.
    pub(super) fn publish(mut self) -> Result<(), ExportError> {
        let parent = parent(&self.out).to_owned();
        self.lock
            .sync_all()
            .and_then(|()| fs::rename(&self.scratch, &self.out))
            .and_then(|()| File::open(&parent)?.sync_all())
            .map_err(|source| match source.kind() {
                io::ErrorKind::DirectoryNotEmpty => ExportError::Occupied(self.out.clone()),
                _ => ExportError::Io {
                    path: self.out.clone(),
                    source,
                },
            })?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed by the next export to the same name.
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }
}

fn parent(out: &Path) -> &Path {
    match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A file on its way, hashed.
pub(super) struct OutFile {
    name: String,
    path: PathBuf,
    inner: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl OutFile {
    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes all of `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.write_all(bytes).map_err(|source| self.refused(source))
    }

    /// An error of the system as one about this file.
    pub(super) fn refused(&self, source: io::Error) -> ExportError {
        ExportError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Hands its bytes to the disk; `documents` are in it.
    pub(super) fn finish(mut self, documents: u64) -> Result<FileEntry, ExportError> {
        self.inner
            .flush()
            .and_then(|()| self.inner.get_ref().sync_all())
            .map_err(|source| self.refused(source))?;
        Ok(FileEntry {
            file: self.name,
            documents,
            bytes: self.bytes,
            sha256: format!("{:x}", self.hash.finalize()),
        })
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
