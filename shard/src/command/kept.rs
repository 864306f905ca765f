//! A file that is there whole or not at all, and in the place of another only where that is meant.

use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lcl_schemas::write::durable::Scratch;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Stays,
    IsReplaced,
}

/// A file on its way to its name.
pub(super) struct Kept {
    writer: BufWriter<Scratch>,
    path: PathBuf,
    name: String,
    existing: Existing,
}

impl Kept {
    /// # Errors
    /// The file is there already and stays, or cannot be made.
    pub(super) fn create(path: &Path, existing: Existing) -> anyhow::Result<Self> {
        if existing == Existing::Stays && path.symlink_metadata().is_ok() {
            bail!("{} is there already: choose another name", path.display());
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} names no file", path.display()))?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let made = Scratch::new(folder);
        let scratch = made.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 20, scratch),
            path: path.to_owned(),
            name: name.to_owned(),
            existing,
        })
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The disk is full, or somebody took the name.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let scratch = self.writer.into_inner();
        let named = scratch
            .map_err(IntoInnerError::into_error)
            .and_then(|scratch| match self.existing {
                Existing::IsReplaced => scratch.replace(&self.name).map(|()| true),
                Existing::Stays => scratch.put_if_absent(&self.name),
            });
        match named.with_context(|| format!("cannot write {}", self.path.display()))? {
            true => Ok(()),
            false => bail!(
                "{} is there already: choose another name",
                self.path.display()
            ),
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
