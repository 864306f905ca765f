//! A dataset's folder, to be written to: its header, its commits, its manifest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::durable;
use crate::dataset::{
    COMMITS_DIR, Commit, FETCH_DIR, HEADER_FILE, Header, HeaderError, LATEST_MANIFEST,
    MANIFESTS_DIR, ManifestRow, TOKENIZER_FILE, live, manifest_schema, manifest_to_arrow,
};

/// Who is at work.
const LOCK_FILE: &str = "_lock";

/// Why a dataset cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Parquet refused.
    #[error("{path}: {source}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: ParquetError,
    },
    /// A commit that cannot be read.
    #[error("{path} is no commit of this format: {detail}", path = path.display())]
    Commit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another process is at work there, and the two would undo each other.
    #[error("{path}: another run is at work in it: let that end first", path = path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A shard is not what its commit says.
    #[error(transparent)]
    Shard(#[from] LostShard),
    /// The run does not fit the dataset.
    #[error("{path}: {source}", path = path.display())]
    Header {
        /// The dataset.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
}

/// A shard that is not what its commit says.
#[derive(Debug, thiserror::Error)]
#[error("{path} {what}: ingest {input} again, and it is made anew", path = path.display())]
pub struct LostShard {
    path: PathBuf,
    what: String,
    /// What it was made of.
    input: String,
}

/// An open dataset.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    /// Held while it is open: shared by runs that add to it, exclusive for one that changes it. The system gives it back
    /// however a process ends.
    _lock: File,
}

/// Who else may be at work in a dataset.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Those that add to it.
    MayAdd,
    /// Nobody.
    Nobody,
}

/// Locks the file `name` in `folder`.
///
/// # Errors
/// [`DatasetError::Busy`], [`DatasetError::Io`].
pub fn lock(folder: &Path, name: &str, others: Others) -> Result<File, DatasetError> {
    let path = folder.join(name);
    let io = |source| DatasetError::Io {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    let locked = match others {
        Others::MayAdd => file.try_lock_shared(),
        Others::Nobody => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DatasetError::Busy {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

impl Dataset {
    /// Opens or begins the dataset at `root`, whose rows are made under `ours`; `tokenizer` is what has to lie beside them.
    ///
    /// # Errors
    /// [`DatasetError::Header`] where it was made otherwise, [`DatasetError::Busy`], [`DatasetError::Io`].
    pub fn open(
        root: &Path,
        ours: &Header,
        tokenizer: Option<&[u8]>,
    ) -> Result<Self, DatasetError> {
        // Before anything is written: a folder that belongs to another version stays as it is.
        if root.join(HEADER_FILE).exists() {
            join(root, ours)?;
        }
        fs::create_dir_all(root).map_err(|source| DatasetError::Io {
            path: root.to_owned(),
            source,
        })?;
        let dataset = Self {
            root: root.to_owned(),
            _lock: lock(root, LOCK_FILE, Others::MayAdd)?,
        };
        dataset.sweep()?;
        if let Some(json) = tokenizer {
            dataset.put_if_absent("", TOKENIZER_FILE, json)?;
        }
        if !dataset.put_if_absent("", HEADER_FILE, &ours.to_json())? {
            join(root, ours)?;
        }
        Ok(dataset)
    }

    /// Opens a dataset that is there, to change it: nobody else may be at work in it.
    ///
    /// # Errors
    /// [`DatasetError::Header`], [`DatasetError::Busy`], [`DatasetError::Io`].
    pub fn existing(root: &Path) -> Result<(Self, Header), DatasetError> {
        let header = header(root)?;
        let writable = header.check_writable();
        writable.map_err(|source| DatasetError::Header {
            path: root.to_owned(),
            source,
        })?;
        let dataset = Self {
            root: root.to_owned(),
            _lock: lock(root, LOCK_FILE, Others::Nobody)?,
        };
        dataset.sweep()?;
        Ok((dataset, header))
    }

    fn sweep(&self) -> Result<(), DatasetError> {
        for folder in ["", COMMITS_DIR, MANIFESTS_DIR, FETCH_DIR] {
            let path = self.path(folder);
            let made = fs::create_dir_all(&path).and_then(|()| durable::sweep(&path));
            made.map_err(|source| DatasetError::Io { path, source })?;
        }
        Ok(())
    }

    /// Where `name` lies; the folder itself for an empty one.
    pub fn path(&self, name: &str) -> PathBuf {
        match name {
            "" => self.root.clone(),
            name => self.root.join(name),
        }
    }

    /// All commits that count.
    ///
    /// # Errors
    /// As [`live_commits`].
    pub fn live_commits(&self) -> Result<Vec<Commit>, DatasetError> {
        live_commits(&self.root)
    }

    /// Whether a commit's shards are there, by name and size.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_shards(&self, commit: &Commit) -> Result<(), LostShard> {
        for shard in &commit.shards {
            let path = self.path(&shard.file);
            let what = match fs::metadata(&path) {
                Ok(found) if found.len() == shard.bytes => continue,
                Ok(found) => format!("has {} bytes instead of {}", found.len(), shard.bytes),
                Err(error) => format!("cannot be read ({error})"),
            };
            let input = commit.input_name.clone();
            return Err(LostShard { path, what, input });
        }
        Ok(())
    }

    /// Makes a unit real; whether nobody else had.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub fn commit(&self, commit: &Commit) -> Result<bool, DatasetError> {
        self.put_if_absent(COMMITS_DIR, &commit.file_name(), &commit.to_json())
    }

    /// Writes the manifest of all live commits, whose shards must be there; its hash. The same commits give the same
    /// bytes.
    ///
    /// # Errors
    /// [`DatasetError::Shard`] for the first that is not; a commit that cannot be read; [`DatasetError::Io`].
    pub fn write_manifest(&self) -> Result<String, DatasetError> {
        let commits = self.live_commits()?;
        commits
            .iter()
            .try_for_each(|commit| self.check_shards(commit))?;
        let rows: Vec<_> = commits
            .iter()
            .flat_map(|commit| commit.manifest_rows().collect::<Vec<_>>())
            .collect();
        let bytes = manifest_bytes(&rows).map_err(|source| DatasetError::Parquet {
            path: self.path(MANIFESTS_DIR),
            source,
        })?;
        let hash = format!("{:x}", Sha256::digest(&bytes));
        // Named by its contents: replacing changes nothing, but mends one that was damaged.
        self.replace(MANIFESTS_DIR, &format!("{hash}.parquet"), &bytes)?;
        self.replace(MANIFESTS_DIR, LATEST_MANIFEST, hash.as_bytes())?;
        Ok(hash)
    }

    fn put_if_absent(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<bool, DatasetError> {
        let folder = self.path(folder);
        durable::put_if_absent(&folder, name, bytes).map_err(|source| DatasetError::Io {
            path: folder.join(name),
            source,
        })
    }

    /// Writes a file of one of its folders, in place of what has its name.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub fn replace(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), DatasetError> {
        let folder = self.path(folder);
        durable::replace(&folder, name, bytes).map_err(|source| DatasetError::Io {
            path: folder.join(name),
            source,
        })
    }
}

/// All commits that count, of the dataset at `root`.
///
/// # Errors
/// [`DatasetError::Commit`] for the first that cannot be read.
pub fn live_commits(root: &Path) -> Result<Vec<Commit>, DatasetError> {
    let mut commits = Vec::new();
    for path in files(&root.join(COMMITS_DIR), ".json")? {
        let damaged = |detail: String| DatasetError::Commit {
            path: path.clone(),
            detail,
        };
        let json = fs::read(&path).map_err(|source| DatasetError::Io {
            path: path.clone(),
            source,
        })?;
        let commit: Commit =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        commit.check().map_err(|what| damaged(what.into()))?;
        commits.push(commit);
    }
    Ok(live(commits))
}

/// The files of a folder with names that end so, by name; no scratch files.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, DatasetError> {
    let io = |source| DatasetError::Io {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && name.ends_with(ending) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What the dataset at `root` says of itself.
///
/// # Errors
/// [`DatasetError::Io`], [`DatasetError::Header`].
pub fn header(root: &Path) -> Result<Header, DatasetError> {
    let path = root.join(HEADER_FILE);
    let json = fs::read(&path).map_err(|source| DatasetError::Io { path, source })?;
    Header::from_json(&json).map_err(|source| DatasetError::Header {
        path: root.to_owned(),
        source,
    })
}

fn join(root: &Path, ours: &Header) -> Result<(), DatasetError> {
    ours.check_joins(&header(root)?)
        .map_err(|source| DatasetError::Header {
            path: root.to_owned(),
            source,
        })
}

/// What every Parquet file here has in common.
pub fn zstd() -> parquet::file::properties::WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(3).expect("a level of zstd");
    // Without a version: a later release writes the same bytes for the same rows.
    WriterProperties::builder()
        .set_created_by("lcl-ingest".into())
        .set_compression(Compression::ZSTD(level))
}

fn manifest_bytes(rows: &[ManifestRow]) -> Result<Vec<u8>, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), manifest_schema(), Some(zstd().build()))?;
    writer.write(&manifest_to_arrow(rows))?;
    writer.into_inner()
}
