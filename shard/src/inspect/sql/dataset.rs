//! One dataset, open: its header, its manifest, its files, and the tables that they make.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use lcl_schemas::dataset::{
    HEADER_FILE, Header, LATEST_MANIFEST, MANIFESTS_DIR, ManifestRow, TOKENIZER_FILE,
    manifest_to_arrow,
};
use lcl_schemas::tokenizer::Tokenizer;
use object_store::ObjectStoreExt;
use url::Url;

use super::SqlError;
use super::commits::Commits;
use super::documents::Documents;
use super::fetches::Fetches;
use super::given::Location;
use super::images::Images;
use super::store::{Files, Meter};
use super::table::Table;
use crate::config::Verify;
use crate::read::{ReadError, Reader, manifest_rows};

/// A dataset at its newest manifest.
pub(super) struct Dataset {
    /// What its tables are called by: `NAME.documents`.
    pub(super) name: String,
    pub(super) location: Location,
    pub(super) header: Header,
    /// What stands in its `_tokenizer.json`, where it needs one; or why that cannot be read.
    pub(super) tokenizer: Result<Option<Vec<u8>>, String>,
    groups: Vec<ManifestRow>,
    files: Arc<Files>,
}

/// How a table reaches its files.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) files: Arc<Files>,
    pub(super) url: ObjectStoreUrl,
    /// For people.
    pub(super) location: Location,
}

impl Dataset {
    pub(super) async fn open(
        location: &Location,
        name: &str,
        meter: Arc<Meter>,
    ) -> Result<Self, SqlError> {
        let (header, groups, files) = match location {
            Location::Folder(folder) => {
                let reader = Reader::open(folder, "", Verify::Size)?;
                let groups = reader.groups().to_vec();
                there(folder, &groups)?;
                let files = Files::open(location, name, meter)?;
                (reader.header().clone(), groups, files)
            }
            Location::Url(_) => {
                let files = Files::open(location, name, meter)?;
                let (header, groups) = remote(location, &files).await?;
                (header, groups, files)
            }
        };
        let tokenizer = match Tokenizer::is_built_in(&header) {
            true => Ok(None),
            // Missed only by who asks for text; then with the reason.
            false => match get(location, &files, TOKENIZER_FILE).await {
                Ok(bytes) => Ok(bytes.map(Vec::from)),
                Err(error) => Err(error.to_string()),
            },
        };
        Ok(Self {
            name: name.to_owned(),
            location: location.clone(),
            header,
            tokenizer,
            groups,
            files: Arc::new(files),
        })
    }

    /// Its tables.
    pub(super) fn tables(
        &self,
        context: &SessionContext,
    ) -> Result<Arc<dyn SchemaProvider>, SqlError> {
        let url = self.files.url();
        let parsed = Url::parse(&url).map_err(|error| SqlError::Store {
            location: self.location.to_string(),
            detail: error.to_string(),
        })?;
        context.register_object_store(&parsed, self.files.clone());
        let source = Source {
            files: self.files.clone(),
            url: ObjectStoreUrl::parse(&url)?,
            location: self.location.clone(),
        };
        let documents = Documents::new(source.clone(), &self.groups);
        let images = Images::new(documents.clone())?;
        let row_groups = manifest_to_arrow(&self.groups);
        let row_groups = MemTable::try_new(row_groups.schema(), vec![vec![row_groups]])?;
        let tables = MemorySchemaProvider::new();
        let ours = [
            ("documents", Table::Documents(documents)),
            ("images", Table::Images(images)),
            ("fetches", Table::Fetches(Fetches::new(source.clone()))),
            ("commits", Table::Commits(Commits::new(source))),
        ];
        for (name, table) in ours {
            tables.register_table(name.to_owned(), Arc::new(table))?;
        }
        tables.register_table("row_groups".to_owned(), Arc::new(row_groups))?;
        Ok(Arc::new(tables))
    }
}

/// Whether all shards are there, as large as the manifest says: a count is answered from the manifest alone.
fn there(folder: &Path, groups: &[ManifestRow]) -> Result<(), SqlError> {
    for shard in groups.chunk_by(|a, b| a.shard == b.shard) {
        let path = folder.join(&shard[0].shard);
        let bytes = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(ReadError::File { path, source }.into()),
        };
        let said = shard[0].shard_bytes;
        if bytes != said {
            let detail = format!("it has {bytes} bytes, the manifest says {said}");
            return Err(ReadError::Swapped { path, detail }.into());
        }
    }
    Ok(())
}

async fn remote(
    location: &Location,
    files: &Files,
) -> Result<(Header, Vec<ManifestRow>), SqlError> {
    let path = PathBuf::from(location.to_string());
    let header = get(location, files, HEADER_FILE).await?;
    let header = header.ok_or_else(|| SqlError::Store {
        location: location.to_string(),
        detail: format!("there is no {HEADER_FILE}: it is not the folder of a dataset"),
    })?;
    let header = Header::from_json(&header).map_err(|source| ReadError::Header {
        path: path.clone(),
        source,
    })?;
    let latest = get(
        location,
        files,
        &format!("{MANIFESTS_DIR}/{LATEST_MANIFEST}"),
    )
    .await?;
    let latest = latest.ok_or_else(|| ReadError::NoManifest { path: path.clone() })?;
    let hash = String::from_utf8_lossy(&latest).trim().to_owned();
    // It becomes a path.
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ReadError::NoHash(hash).into());
    }
    let file = format!("{MANIFESTS_DIR}/{hash}.parquet");
    let path = path.join(&file);
    let bytes = get(location, files, &file).await?;
    let bytes = bytes.ok_or_else(|| ReadError::File {
        path: path.clone(),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    Ok((header, manifest_rows(&path, &hash, bytes)?))
}

/// A small file, whole; `None` where there is none.
async fn get(location: &Location, files: &Files, file: &str) -> Result<Option<Bytes>, SqlError> {
    let failed = |error: object_store::Error| SqlError::Store {
        location: location.to_string(),
        detail: error.to_string(),
    };
    match files.get(&files.path(file)).await {
        Ok(got) => Ok(Some(got.bytes().await.map_err(failed)?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
