//! The pages of an earlier dataset's crawls: asked for only if they have changed, and taken from its archives if not.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::{CrawlError, FOLDER, Journal};
use crate::dataset;
use crate::fetch::Before;

/// A record longer than this is none of ours: a page is at most 1 GiB, and compressed.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Where a page's record lies in its batch's archive, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// An earlier dataset's pages by URL.
#[derive(Default)]
pub(super) struct Earlier(HashMap<[u8; 32], Page>);

struct Page {
    before: Before,
    archive: Arc<Path>,
    span: Span,
}

impl Earlier {
    /// Of all crawls of the dataset at `root`; of a page that several have, the last.
    pub(super) fn open(root: &Path) -> Result<Self, CrawlError> {
        let mut pages = HashMap::new();
        for folder in folders(&root.join(FOLDER))? {
            for path in dataset::files(&folder, ".json")? {
                let archive: Arc<Path> = path.with_extension("warc.gz").into();
                let journal = Journal::read(&path)?;
                for asked in journal.asked {
                    let at = asked.final_url.as_deref().map(Url::parse);
                    let (Some(span), Some(Ok(at))) = (asked.record, at) else {
                        continue;
                    };
                    if !asked.validators.can_be_sent() {
                        continue;
                    }
                    let page = Page {
                        before: Before {
                            validators: asked.validators,
                            at,
                        },
                        archive: archive.clone(),
                        span,
                    };
                    pages.insert(hash(&asked.target.url), page);
                }
            }
        }
        Ok(Self(pages))
    }

    /// By what to ask for a page, if it was had.
    pub(super) fn before(&self, url: &Url) -> Option<&Before> {
        self.0.get(&hash(url)).map(|page| &page.before)
    }

    /// A page's record, as it was archived.
    pub(super) fn record(&self, url: &Url) -> io::Result<Vec<u8>> {
        let page = self.0.get(&hash(url)).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::open(&page.archive)?;
        file.seek(SeekFrom::Start(page.span.offset))?;
        let mut record = Vec::new();
        file.take(page.span.length.min(MAX_RECORD_BYTES))
            .read_to_end(&mut record)?;
        // Part of a record would spoil all that is archived behind it.
        match record.len() as u64 == page.span.length {
            true => Ok(record),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A folder for each set of seeds; none where there was no crawl.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, CrawlError> {
    let io = |source| CrawlError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn hash(url: &Url) -> [u8; 32] {
    Sha256::digest(url.as_str()).into()
}
