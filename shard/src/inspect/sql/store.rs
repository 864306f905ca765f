//! A dataset's files through object_store, read only, counted.
//!
//! Every dataset of a session is a store of its own, `dataset://NAME`, in which its files are `NAME/FILE`: DataFusion keeps
//! footers by path alone, and two datasets may have files of one name.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreScheme, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, RetryConfig,
};
use url::{Position, Url};

use super::SqlError;
use super::given::Location;

/// What was read so far, of all datasets of a session.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    requests: AtomicU64,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// As asked for from files or servers.
    pub bytes: u64,
    /// Requests for bytes; neighbouring ranges may be one on their way.
    pub requests: u64,
}

impl Meter {
    /// So far.
    pub fn read(&self) -> Read {
        Read {
            bytes: self.bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// One dataset's files.
#[derive(Debug)]
pub(super) struct Files {
    inner: Arc<dyn ObjectStore>,
    name: String,
    meter: Arc<Meter>,
}

impl Files {
    /// Opens the store that a location is in; nothing is asked of it yet.
    pub(super) fn open(
        location: &Location,
        name: &str,
        meter: Arc<Meter>,
    ) -> Result<Self, SqlError> {
        let inner = match location {
            Location::Folder(path) => LocalFileSystem::new_with_prefix(path)
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            Location::Url(url) => remote(url),
        };
        let inner = inner.map_err(|error| SqlError::Store {
            location: location.to_string(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            inner,
            name: name.to_owned(),
            meter,
        })
    }

    /// What DataFusion calls this store.
    pub(super) fn url(&self) -> String {
        format!("dataset://{}", self.name)
    }

    /// A file of the dataset, given from its folder, as DataFusion is to call it.
    pub(super) fn path(&self, file: &str) -> Path {
        // Not parsed: `..` in a manifest is a strange name, not the folder above.
        file.split('/')
            .fold(Path::from(self.name.as_str()), |path, part| path.join(part))
    }

    fn within(&self, path: &Path) -> Path {
        path.parts().skip(1).collect()
    }

    fn outside(&self, path: Path) -> Path {
        Path::from(self.name.as_str())
            .parts()
            .chain(path.parts())
            .collect()
    }
}

fn remote(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    // Enough for a request that is lost now and then; whoever mistyped the host is told so in half a minute, not in three.
    let retry = RetryConfig {
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    };
    let text = url.to_string();
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => Arc::new(
            AmazonS3Builder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()?,
        ),
        ObjectStoreScheme::GoogleCloudStorage => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()?,
        ),
        ObjectStoreScheme::MicrosoftAzure => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build()?,
        ),
        _ => {
            let options = ClientOptions::new().with_allow_http(url.scheme() == "http");
            let builder = HttpBuilder::new().with_url(&url[..Position::BeforePath]);
            let builder = builder.with_client_options(options).with_retry(retry);
            Arc::new(builder.build()?)
        }
    };
    Ok(Arc::new(PrefixStore::new(store, path)))
}

/// A web server that sends whole files only is met at the first shard; object_store says only that it is so.
fn taught(error: Error) -> Error {
    match error {
        Error::NotSupported { source } => Error::Generic {
            store: "HTTP",
            source: format!(
                "{source}; parts of files are read: serve the dataset by a server that answers range requests (`python3 -m http.server` does not)"
            )
            .into(),
        },
        error => error,
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.inner)
    }
}

fn read_only<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "a dataset that is only read".to_owned(),
    })
}

/// The trait's own signatures are made by a macro of a crate that we would need for this alone.
impl ObjectStore for Files {
    fn put_opts<'a, 'b, 'f>(
        &'a self,
        _: &'b Path,
        _: PutPayload,
        _: PutOptions,
    ) -> BoxFuture<'f, Result<PutResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        async { read_only("put") }.boxed()
    }

    fn put_multipart_opts<'a, 'b, 'f>(
        &'a self,
        _: &'b Path,
        _: PutMultipartOptions,
    ) -> BoxFuture<'f, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'f,
        'b: 'f,
    {
        async { read_only("put_multipart") }.boxed()
    }

    fn get_opts<'a, 'b, 'f>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> BoxFuture<'f, Result<GetResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        async move {
            let head = options.head;
            let got = self.inner.get_opts(&self.within(location), options).await;
            let mut got = got.map_err(taught)?;
            if !head {
                self.meter.count(got.range.end - got.range.start);
            }
            got.meta.location = location.clone();
            Ok(got)
        }
        .boxed()
    }

    fn get_ranges<'a, 'b, 'c, 'f>(
        &'a self,
        location: &'b Path,
        ranges: &'c [Range<u64>],
    ) -> BoxFuture<'f, Result<Vec<Bytes>>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
    {
        async move {
            let got = self.inner.get_ranges(&self.within(location), ranges).await;
            let got = got.map_err(taught)?;
            self.meter
                .count(got.iter().map(|bytes| bytes.len() as u64).sum());
            Ok(got)
        }
        .boxed()
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { read_only("delete") }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let within = prefix.map(|prefix| self.within(prefix));
        let name = Path::from(self.name.as_str());
        let listed = self.inner.list(within.as_ref());
        listed
            .map(move |meta| {
                let mut meta = meta?;
                meta.location = name.parts().chain(meta.location.parts()).collect();
                Ok(meta)
            })
            .boxed()
    }

    fn list_with_delimiter<'a, 'b, 'f>(
        &'a self,
        prefix: Option<&'b Path>,
    ) -> BoxFuture<'f, Result<ListResult>>
    where
        'a: 'f,
        'b: 'f,
    {
        async move {
            let within = prefix.map(|prefix| self.within(prefix));
            let mut listed = self.inner.list_with_delimiter(within.as_ref()).await?;
            for meta in &mut listed.objects {
                meta.location = self.outside(std::mem::take(&mut meta.location));
            }
            let folders = std::mem::take(&mut listed.common_prefixes);
            listed.common_prefixes = folders
                .into_iter()
                .map(|folder| self.outside(folder))
                .collect();
            Ok(listed)
        }
        .boxed()
    }

    fn copy_opts<'a, 'b, 'c, 'f>(
        &'a self,
        _: &'b Path,
        _: &'c Path,
        _: CopyOptions,
    ) -> BoxFuture<'f, Result<()>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
    {
        async { read_only("copy") }.boxed()
    }
}
