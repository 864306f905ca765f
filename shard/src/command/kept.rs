//! A file that is there whole or not at all, and in the place of another only where that is meant.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Stays,
    IsReplaced,
}

/// A file on its way to its name.
pub(super) struct Kept {
    writer: BufWriter<File>,
    scratch: Scratch,
    path: PathBuf,
    existing: Existing,
}

/// A sibling that goes with whoever made it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Renamed by now, or of no use to anybody.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Kept {
    /// # Errors
    /// The file is there already and stays, or cannot be made.
    pub(super) fn create(path: &Path, existing: Existing) -> anyhow::Result<Self> {
        if existing == Existing::Stays && path.symlink_metadata().is_ok() {
            bail!("{} is there already: choose another name", path.display());
        }
        let name = path.file_name();
        let mut name = name
            .with_context(|| format!("{} names no file", path.display()))?
            .to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let scratch = path.with_file_name(name);
        let made = File::create_new(&scratch);
        let file = made.with_context(|| format!("cannot write {}", path.display()));
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 20, file?),
            scratch: Scratch(scratch),
            path: path.to_owned(),
            existing,
        })
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The disk is full, or somebody took the name.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let Self {
            writer,
            scratch,
            path,
            existing,
        } = self;
        let failed = || format!("cannot write {}", path.display());
        let file = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).with_context(failed)?;
        if existing == Existing::IsReplaced {
            return std::fs::rename(&scratch.0, &path).with_context(failed);
        }
        // A link, unlike a rename, takes no other file's place.
        match std::fs::hard_link(&scratch.0, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                // A file system without links.
                std::fs::rename(&scratch.0, &path).with_context(failed)
            }
            linked => linked.with_context(failed),
        }
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
