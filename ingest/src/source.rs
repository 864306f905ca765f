//! Inputs to records, and records to drafts.

pub(crate) mod captures;
pub(crate) mod folder;
pub(crate) mod holdings;
pub(crate) mod html;
pub(crate) mod lines;
pub(crate) mod mmc4;
mod page;
pub(crate) mod records;
pub(crate) mod warc;

use std::path::Path;
use std::sync::atomic::AtomicU64;

use lcl_schemas::outcome::DocumentOutcome;
use url::Url;

use crate::config::{Config, Rules, SourceKind};
use crate::draft::{Draft, Unusable};
use crate::fetch::{self, OptOut, opt_out};
use crate::filter;
use crate::unit::Ticket;
use html::HtmlError;
use mmc4::LocateBy;
use records::{At, Raw, Record, Records, RecordsError};

/// Opens an input and gives its records to `with`; `progress` counts its bytes as they are read.
pub(crate) fn read<T>(
    config: &Config,
    path: &Path,
    progress: &AtomicU64,
    with: impl FnOnce(Records<'_>) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    let limit = config.flow.max_record_bytes;
    match config.source {
        SourceKind::Mmc4 => lines::read(path, limit, progress, with),
        SourceKind::Html => folder::read(path, limit, progress, with),
        SourceKind::Warc if is_index(path) => captures::read_index(path, limit, progress, with),
        SourceKind::Warc | SourceKind::Crawl => {
            captures::read(path, archive_limits(config), progress, with)
        }
    }
}

/// Whether a file, by its name, says where records are and holds none.
pub(crate) fn is_index(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".cdx") || name.ends_with(".cdxj")
}

pub(crate) fn archive_limits(config: &Config) -> warc::Limits {
    warc::Limits {
        max_record_bytes: config.flow.max_record_bytes,
        ..warc::Limits::default()
    }
}

/// Reads documents out of records.
pub(crate) struct Drafter {
    max_record_bytes: usize,
    locate_by: LocateBy,
    rules: Rules,
    page_limits: html::Limits,
    agent: String,
    heeded: Vec<OptOut>,
}

impl Drafter {
    /// As `config` says.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_record_bytes: config.flow.max_record_bytes,
            locate_by: config.locate_by(),
            rules: config.resolved_rules(),
            page_limits: html::Limits::default(),
            agent: fetch::agent(&config.user_agent()),
            heeded: config.fetch.opt_outs.clone(),
        }
    }

    /// What a record comes to before any of its images is asked for.
    pub(crate) fn draft(&self, record: Record, ticket: &Ticket) -> Result<Draft, Unusable> {
        let Record { at, raw } = record;
        let id = ticket.unit.document_id(ticket.record);
        let drafted = match raw {
            Raw::TooLong => Err(Unusable {
                outcome: DocumentOutcome::TooLong,
                detail: format!("longer than {} bytes", self.max_record_bytes),
            }),
            Raw::Lost(detail) => Err(Unusable {
                outcome: DocumentOutcome::Unreadable,
                detail,
            }),
            Raw::NotFetched(detail) => Err(Unusable {
                outcome: DocumentOutcome::NotFetched,
                detail,
            }),
            // Those that may be pages were fetched before.
            Raw::Listed(_) => Err(Unusable {
                outcome: DocumentOutcome::NotAPage,
                detail: "its index says that it is no page".into(),
            }),
            Raw::Capture(capture) => self.capture(*capture, id, ticket),
            Raw::Bytes(bytes) => match &at {
                At::File(path) => {
                    let url = ticket.unit.holdings.page(path);
                    self.page(&bytes, None, &url, &self.reader(ticket, None), id)
                }
                _ => mmc4::parse(&bytes, self.locate_by)
                    .map(|page| filter::draft(page, id, &self.rules)),
            },
        };
        drafted.map_err(|unusable| Unusable {
            detail: format!("{} {at}: {}", ticket.unit.input_name, unusable.detail),
            ..unusable
        })
    }

    fn capture(
        &self,
        record: warc::Record,
        id: String,
        ticket: &Ticket,
    ) -> Result<Draft, Unusable> {
        let page = captures::page(record, self.page_limits.max_bytes)?;
        let values = page.robots.iter().map(String::as_str);
        let said = opt_out::of_headers(values, page.tdm.as_deref(), &self.agent, &self.heeded);
        if let Some(signal) = said {
            return Err(page::opted_out(signal, "its headers say"));
        }
        let reader = self.reader(ticket, page.date.as_deref());
        let content_type = page.content_type.as_deref();
        self.page(&page.body, content_type, &page.url, &reader, id)
    }

    fn reader<'a>(&'a self, ticket: &'a Ticket, date: Option<&'a str>) -> page::Reader<'a> {
        page::Reader {
            rules: &self.rules,
            holdings: &ticket.unit.holdings,
            date,
            agent: &self.agent,
            heeded: &self.heeded,
        }
    }

    fn page(
        &self,
        bytes: &[u8],
        content_type: Option<&str>,
        url: &Url,
        reader: &page::Reader<'_>,
        id: String,
    ) -> Result<Draft, Unusable> {
        let page = html::extract(bytes, content_type, url, &self.page_limits);
        let page = page.map_err(|error| Unusable {
            outcome: match error {
                HtmlError::TooLong { .. } => DocumentOutcome::TooLong,
                HtmlError::Nodes(_) | HtmlError::Depth(_) | HtmlError::Attributes(_) => {
                    DocumentOutcome::TooComplex
                }
            },
            detail: error.to_string(),
        })?;
        reader.draft(page, id, url.as_str())
    }
}
