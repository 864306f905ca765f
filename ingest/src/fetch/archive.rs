//! Records of archives by their places: images that our own index has, pages that an index of others lists.

use std::path::{Component, Path};
use std::sync::Arc;

use lcl_schemas::outcome::Outcome;

use super::client::Web;
use super::limits::{Body, Limits};
use super::opt_out::{self, OptOut};
use super::robots::agent;
use crate::config::{Config, is_web};
use crate::source::archive_limits;
use crate::source::records::Raw;
use crate::source::warc::cdx::CdxEntry;
use crate::source::warc::index::is_of;
use crate::source::warc::{self, Found, Kind, http};

/// Archives of whatever name.
pub(super) struct Archives {
    reading: Arc<Reading>,
    limits: Arc<Limits>,
}

struct Reading {
    /// Before the names of files in an index.
    base: String,
    records: warc::Limits,
    bodies: http::BodyLimits,
    agent: String,
    heeded: Vec<OptOut>,
}

impl Archives {
    pub(super) fn new(config: &Config, limits: Arc<Limits>) -> Self {
        let reading = Reading {
            base: config.archives.clone().unwrap_or_default(),
            records: archive_limits(config),
            bodies: http::BodyLimits {
                max_bytes: config.fetch.max_bytes as usize,
                ..http::BodyLimits::default()
            },
            agent: agent(&config.user_agent()),
            heeded: config.fetch.opt_outs.clone(),
        };
        Self {
            reading: Arc::new(reading),
            limits,
        }
    }

    /// The record that an index lists.
    pub(super) async fn listed(&self, entry: &CdxEntry, web: &Web) -> Raw {
        let found = match is_web(&self.reading.base) {
            true => self.range(entry, web).await,
            false => {
                let (reading, entry) = (self.reading.clone(), entry.clone());
                let read = tokio::task::spawn_blocking(move || reading.file(&entry)).await;
                read.expect("archives are read without panics")
            }
        };
        match found {
            Ok(Some(Found::Record(record))) => Raw::Capture(record),
            Ok(Some(Found::Lost(lost))) => Raw::Lost(lost.to_string()),
            Ok(None) => Raw::Lost("there is no record at that place".into()),
            Err(why) => Raw::NotFetched(why),
        }
    }

    async fn range(&self, entry: &CdxEntry, web: &Web) -> Result<Option<Found>, String> {
        let length = entry
            .length
            .ok_or("its index has no lengths: only files can be read")?;
        let base = self.reading.base.trim_end_matches('/');
        let url = format!("{base}/{}", entry.filename);
        let (answer, _) = web.range(&url, entry.offset, length).await;
        let answer = answer.map_err(|outcome| format!("{url}: {outcome}"))?;
        let found = warc::parse(&answer.body.bytes, self.reading.records);
        found.map_err(|error| format!("{url}: {error}"))
    }

    /// The image that the record at `offset` holds, which has to be of `url`, where that is given.
    pub(super) async fn read(
        &self,
        path: &Arc<Path>,
        offset: u64,
        url: Option<String>,
    ) -> Result<Body, Outcome> {
        let (reading, path) = (self.reading.clone(), path.clone());
        let max_bytes = reading.bodies.max_bytes as u64;
        let read = move || reading.image(&path, offset, url.as_deref());
        self.limits.reading(max_bytes, read).await
    }
}

impl Reading {
    fn file(&self, entry: &CdxEntry) -> Result<Option<Found>, String> {
        let name = Path::new(&entry.filename);
        let inside = |part| matches!(part, Component::Normal(_));
        if !name.components().all(inside) {
            return Err(format!("{:?} leads out of the folder", entry.filename));
        }
        let path = Path::new(&self.base).join(name);
        // A pipe would be waited for without end.
        if !path.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let found = warc::read_at(&path, entry.offset, self.records);
        found.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn image(&self, path: &Path, offset: u64, url: Option<&str>) -> Result<Vec<u8>, Outcome> {
        let found = warc::read_at(path, offset, self.records);
        let Ok(Some(Found::Record(record))) = found else {
            return Err(Outcome::UnreadableFile);
        };
        if url.is_some_and(|url| !is_of(&record, url)) {
            return Err(Outcome::NotArchived);
        }
        let block = record.block.ok_or(Outcome::TooLarge)?;
        if record.kind != Kind::Response {
            return Ok(block);
        }
        let response = http::response(&block, self.bodies).map_err(|error| match error {
            http::HttpError::Status => Outcome::Protocol,
            http::HttpError::TooLong { .. } => Outcome::TooLarge,
            http::HttpError::Expands { .. } => Outcome::Bomb,
        })?;
        let tags = response.headers.all("x-robots-tag");
        let tdm = response.headers.get("tdm-reservation");
        match opt_out::of_headers(tags, tdm, &self.agent, &self.heeded) {
            Some(signal) => Err(signal.into()),
            None if response.status != 200 => Err(Outcome::Protocol),
            None => match response.fault {
                Some(http::BodyFault::Short { .. }) => Err(Outcome::Truncated),
                // Headers that say otherwise are common where the body is whole: decoding will tell.
                _ => Ok(response.body),
            },
        }
    }
}
